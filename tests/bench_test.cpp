// The microbenchmark program: a row an op, and how it answers.
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/catch.h"
#include "tests/op_cases.h"
#include "tests/temp_dir.h"

namespace tern {
namespace {

namespace fs = std::filesystem;

struct Finished {
  int code = -1;
  std::string output;  // stdout and stderr
};

Finished run(const std::string& program, const std::string& arguments) {
  const std::string command = "'" + (fs::path(TERN_BINARY_DIR) / program).string() + "' " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Finished finished;
  char part[4096];
  while (const size_t count = std::fread(part, 1, sizeof part, pipe)) finished.output.append(part, count);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) finished.code = WEXITSTATUS(status);
  return finished;
}

bool built(const std::string& program) { return fs::exists(fs::path(TERN_BINARY_DIR) / program); }

}  // namespace

TEST_CASE("every op folder has a row in the op table", "[bench]") {
  std::set<std::string> rows;
  for (const testing::OpCase& row : testing::op_cases()) rows.insert(row.op);
  for (const auto& entry : fs::directory_iterator(fs::path(TERN_SOURCE_DIR) / "kernels")) {
    const std::string op = entry.path().filename().string();
    if (!entry.is_directory() || op == "common") continue;
    INFO(op);
    CHECK(rows.contains(op));
  }
}

TEST_CASE("bench: lists every row of the op table, backward where it has a gradient", "[bench]") {
  if (!built("bench")) SKIP("built without Google Benchmark");
  const Finished list = run("bench", "--list");
  REQUIRE(list.code == 0);
  std::set<std::string> names;
  std::istringstream lines(list.output);
  for (std::string line; std::getline(lines, line);) CHECK(names.insert(line).second);
  size_t wanted = 0;
  for (const testing::OpCase& row : testing::op_cases()) {
    INFO(name_of(row));
    CHECK(names.contains(name_of(row) + "/forward"));
    CHECK(names.contains(name_of(row) + "/backward") == row.gradient);
    wanted += row.gradient ? 2 : 1;
  }
  CHECK(names.size() == wanted);
}

TEST_CASE("bench: checks, times and writes what the filter chooses, beside the peaks of the run", "[bench]") {
  if (!built("bench")) SKIP("built without Google Benchmark");
  const test::TempDir dir;
  const std::string file = (dir / "add.json").string();
  const Finished timed = run("bench", "--filter '^add' --min-time 0.001 --threads 2 --json '" + file + "'");
  INFO(timed.output);
  REQUIRE(timed.code == 0);
  CHECK_THAT(timed.output, HasText("add/backward"));
  CHECK_THAT(timed.output, HasText("peak FMA GFLOP/s"));
  std::ifstream stream(file);
  const auto json = nlohmann::json::parse(stream);
  CHECK(json.at("context").at("threads") == "2");
  REQUIRE(json.at("benchmarks").size() == 4);
  int timed_kernels = 0;
  for (const auto& benchmark : json.at("benchmarks")) {
    CHECK(benchmark.at("name").get<std::string>().starts_with("add/"));
    if (benchmark.contains("label")) continue;  // add's gradient is dy itself: nothing runs
    ++timed_kernels;
    CHECK(benchmark.at("items/s").get<double>() > 0);
    CHECK(benchmark.at("of_peak").get<double>() > 0);
  }
  CHECK(timed_kernels == 2);
}

TEST_CASE("bench, bench_step: refuse what they do not know with a hint", "[bench]") {
  if (!built("bench")) SKIP("built without Google Benchmark");
  const Finished unknown = run("bench", "--fliter add");
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.output, HasText("did you mean '--filter'?"));
  CHECK(run("bench", "--filter '('").code == 2);
  CHECK_THAT(run("bench", "--filter no_such_op").output, HasText("fits no benchmark"));
  CHECK(run("bench", "--filter '^add' --json /no/such/folder/x.json").code == 1);
  const Finished help = run("bench", "--help");
  CHECK(help.code == 0);
  CHECK_THAT(help.output, HasText("--min-time"));
  CHECK(run("bench_step", "--model vgg").code == 2);
}

TEST_CASE("bench_step: one line of JSON", "[bench]") {
  if (!built("bench_step")) SKIP("not built");
  const Finished step = run("bench_step", "--model lenet --lanes 2 --micro-batch 2 --steps 1 --threads 2 --json");
  INFO(step.output);
  REQUIRE(step.code == 0);
  const auto json = nlohmann::json::parse(step.output);
  CHECK(json.at("images_per_s").get<double>() > 0);
  // conv1 and conv2 of 5x5, fc1 to fc3: by hand, 3 passes but for the pictures' own gradient.
  const double conv1 = 28 * 28 * 6 * 75, rest = 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10;
  CHECK(json.at("gflop").get<double>() == Approx(4 * 2e-9 * (2 * conv1 + 3 * rest)).margin(5e-4));
}

}  // namespace tern
