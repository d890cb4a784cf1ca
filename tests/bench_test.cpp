// The microbenchmark program: a row an op, and how it answers.
#include <sys/wait.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "bench/compare.h"
#include "bench/network_rows.h"
#include "bench/row.h"
#include "core/error.h"
#include "tests/catch.h"
#include "tests/naive_conv.h"
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

TEST_CASE("bench: lists every row of the op table, backward where it has a gradient, and the layers of networks", "[bench]") {
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
  for (const bench::Timed& network : bench::timed_networks()) wanted += network_rows(network, bench::kDefaultBatch).size();
  CHECK(names.size() == wanted);
  for (int conv = 1; conv <= 6; ++conv)
    for (const char* pass : {"forward", "dgrad", "wgrad"}) {
      const std::string name = "cifar-cnn/conv" + std::to_string(conv) + "/" + pass;
      INFO(name);
      CHECK(names.contains(name) == (conv > 1 || std::string(pass) != "dgrad"));
    }
}

TEST_CASE("bench: the layers of a network have its sizes, those that are alike one row", "[bench]") {
  const std::vector<bench::Timed> networks = bench::timed_networks();
  std::map<std::string, bench::Row> rows;
  for (const bench::Timed& network : networks)
    for (bench::Row& row : network_rows(network, 128)) rows[row.name] = row;
  const bench::Row& conv2 = rows.at("cifar-cnn/conv2/wgrad");
  CHECK(conv2.op->bench_flops == 2.0 * 128 * 32 * 32 * 32 * 3 * 3 * 32);
  CHECK(conv2.op->bench_lane_size == 32);
  CHECK(conv2.op->bench.at(0).shape == Shape{128, 32, 32, 32});
  CHECK(rows.at("cifar-cnn/bn1/forward").layers == 2);
  CHECK(rows.at("resnet18/layer1.0.conv1/dgrad").layers == 4);
  CHECK(rows.at("resnet18/layer2.0.downsample.0/wgrad").op->bench.at(1).shape == Shape{128, 16, 16, 128});
  CHECK(rows.at("lenet/fc1/backward").op->bench.at(0).shape == Shape{128, 400});
  CHECK(rows.at("lenet/conv2/wgrad").op->bench_lane_size == 0);
  CHECK(rows.at("cifar-cnn/adamw/step").op->bench.at(0).shape == Shape{298570});
  CHECK(rows.at("airbench94/group1.bn1/forward").op->op == "max_pool_batch_norm");
  CHECK(rows.at("airbench94/group2.conv2/forward").op->bench.at(0).shape == Shape{128, 7, 7, 256});
  CHECK(rows.at("lenet/relu1/forward").op->bench.at(0).shape == Shape{128, 14, 14, 6});
  CHECK(rows.at("airbench94/head/forward").op->bench.at(0).shape == Shape{128, 256});

  // What the elements of a pass add up to is what the naive loops say.
  const Conv2d options{.stride = 2, .padding = 1};
  bench::Timed network{.name = "n", .layers = {{.type = "conv2d", .name = "a", .out = 3, .kernel = 1, .bias = false}}};
  network.layers.push_back({.type = "conv2d", .name = "b", .out = 5, .kernel = 3, .stride = options.stride, .padding = options.padding});
  const auto filled = [](const Shape& shape) {
    testing::Array array = testing::zeros_of(shape);
    for (int64_t i = 0; i < shape.numel(); ++i) array[i] = std::sin(static_cast<double>(i));
    return array;
  };
  for (const bench::Row& row : network_rows(network, 2)) {
    if (!row.name.starts_with("n/b/")) continue;
    INFO(row.name);
    if (!row.element) continue;  // none but convolutions
    std::vector<testing::Array> in;
    for (const testing::Input& input : row.op->bench) in.push_back(filled(input.shape));
    const testing::Array want = row.op->op == "conv2d"         ? naive_conv2d(in[0], in[1], &in[2], options)
                                : row.op->op == "conv2d_dgrad" ? naive_conv2d_dgrad(in[0], in[1], {2, 32, 32, 3}, options)
                                                               : naive_conv2d_wgrad(in[0], in[1], {5, 3, 3, 3}, options);
    for (int64_t i = 0; i < want.shape.numel(); ++i) REQUIRE(row.element(in, i) == Approx(want[i]).margin(1e-9));
  }
}

TEST_CASE("bench: --axis runs what has the coordinate once for each value", "[bench]") {
  CHECK(bench::parse_axis("batch=1,32,128").values == std::vector{1, 32, 128});
  for (const char* bad : {"batch", "batch=", "batch=1,,2", "batch=0", "batch=x", "batch=1,1", "bach=1"}) {
    INFO(bad);
    CHECK_THROWS_AS(bench::parse_axis(bad), ConfigError);
  }
  const auto names = [](const std::string& filter, const std::vector<bench::Axis>& axes) {
    std::vector<std::string> all;
    for (const bench::Row& row : bench::choose_rows(filter, axes, 0)) all.push_back(row.name);
    return all;
  };
  using Names = std::vector<std::string>;
  const bench::Axis batch{"batch", {1, 64}}, threads{"threads", {1, 2}};
  CHECK(names("^lenet/fc3/forward", {batch}) == Names{"lenet/fc3/forward/batch:1", "lenet/fc3/forward/batch:64"});
  CHECK(names("^lenet/fc3/forward", {batch, threads}).size() == 4);
  CHECK(names("^add/forward", {batch, threads}) == Names{"add/forward/threads:1", "add/forward/threads:2"});
  CHECK(names("^cifar-cnn/adamw", {batch}) == Names{"cifar-cnn/adamw/step"});
  const std::vector<bench::Row> rows = bench::choose_rows("^cifar-cnn/conv2/wgrad", {batch, threads}, 0);
  CHECK(rows.back().threads == 2);
  CHECK(rows.back().op->bench.at(0).shape[0] == 64);
  CHECK(rows.back().op->bench_lane_size == 32);
  CHECK(rows.front().op->bench_lane_size == 0);  // one picture is one lane
}

TEST_CASE("bench: a row is slower beyond the threshold and the noise, and what cannot be compared is said", "[bench]") {
  const auto row = [](const char* name, double low, double median, double high) { return bench::Measured{name, {median, low, high}}; };
  const bench::Results before{{{"threads", "2"}, {"peak FMA GFLOP/s", "100"}, {"simd", "avx2"}},
                              {row("same", 9, 10, 11), row("slow", 9, 10, 11), row("noisy", 9, 10, 14), row("gone", 1, 1, 1), row("other", 1, 1, 1)}};
  const bench::Results now{{{"threads", "1"}, {"peak FMA GFLOP/s", "103"}, {"simd", "avx2"}},
                           {row("same", 10, 10.4, 12), row("slow", 11.5, 12, 13), row("noisy", 11, 12, 13), row("fresh", 1, 1, 1)}};
  const bench::Comparison compared = compare_results(before, now, {.fail_over = 0.05, .filter = "^[a-n]|slow|same"});
  INFO(compared.text);
  CHECK(compared.slower == std::vector<std::string>{"slow"});
  CHECK_THAT(compared.text, HasText("within the noise"));
  CHECK_THAT(compared.text, HasText("missing: gone"));
  CHECK_THAT(compared.text, HasText("new: fresh"));
  CHECK_THAT(compared.text, HasText("warning: threads was 2 and is 1"));
  CHECK(compared.text.find("missing: other") == std::string::npos);  // the filter does not ask for it
  CHECK(compared.text.find("peak") == std::string::npos);            // 3 % is drift
  CHECK(compare_results(before, now, {}).slower.empty());
  CHECK(bench::parse_percent("5%") == Approx(0.05));
  for (const char* bad : {"", "5", "%", "x%", "-1%", "5%%", "nan%"}) CHECK_THROWS_AS(bench::parse_percent(bad), ConfigError);
  const bench::Spread spread = bench::spread_of({5, 1, 2, 9, 3});
  CHECK((spread.low == 2 && spread.median == 3 && spread.high == 5));
}

TEST_CASE("bench: --compare shows old and new, --fail-over exits 6", "[bench]") {
  if (!built("bench")) SKIP("built without Google Benchmark");
  const test::TempDir dir;
  const auto file = [&](const std::string& name) { return "'" + (dir / name).string() + "'"; };
  const auto write = [&](const std::string& name, double real_time) {
    nlohmann::json json{{"context", {{"threads", "2"}}}, {"benchmarks", nlohmann::json::array()}};
    json["benchmarks"].push_back({{"name", "relu/forward"}, {"run_type", "iteration"}, {"real_time", real_time}, {"time_unit", "us"}, {"of_peak", 1}});
    std::ofstream(dir / name) << json;
  };
  write("fast.json", 1e-6);
  write("slow.json", 1e9);
  const std::string timed = "--filter '^relu/forward$' --min-time 0.001 --repeat 3 --threads 1 ";
  const Finished slower = run("bench", timed + "--compare " + file("fast.json") + " --fail-over 5%");
  INFO(slower.output);
  CHECK(slower.code == 6);
  CHECK_THAT(slower.output, HasText("relu/forward"));
  CHECK_THAT(slower.output, HasText("warning: threads was 2 and is 1"));
  CHECK_THAT(slower.output, HasText("of_peak by group"));
  CHECK(run("bench", timed + "--compare " + file("slow.json") + " --fail-over 5% --json " + file("new.json")).code == 0);
  const bench::Results written = bench::read_results((dir / "new.json").string());
  REQUIRE(written.rows.size() == 1);
  CHECK(written.rows[0].name == "relu/forward");
  CHECK(written.rows[0].seconds.median > 0);
  CHECK(written.facts.at("threads") == "1");
  CHECK(run("bench", timed + "--compare " + file("none.json")).code == 3);
  std::ofstream(dir / "bad.json") << "{}";
  CHECK(run("bench", timed + "--compare " + file("bad.json")).code == 3);
  CHECK(run("bench", timed + "--fail-over 5%").code == 2);
  CHECK(run("bench", timed + "--compare " + file("fast.json") + " --fail-over 5").code == 2);
}

TEST_CASE("bench: checks, times and writes what the filter chooses, beside the peaks of the run", "[bench]") {
  if (!built("bench")) SKIP("built without Google Benchmark");
  const test::TempDir dir;
  const std::string file = (dir / "add.json").string();
  const Finished timed = run("bench", "--filter '^add' --min-time 0.001 --repeat 2 --threads 2 --json '" + file + "'");
  INFO(timed.output);
  REQUIRE(timed.code == 0);
  CHECK_THAT(timed.output, HasText("add/backward"));
  CHECK_THAT(timed.output, HasText("peak FMA GFLOP/s"));
  std::ifstream stream(file);
  const auto json = nlohmann::json::parse(stream);
  CHECK(json.at("context").at("threads") == "2");
  REQUIRE(json.at("benchmarks").size() == 8);  // each twice
  int timed_kernels = 0;
  for (const auto& benchmark : json.at("benchmarks")) {
    CHECK(benchmark.at("name").get<std::string>().starts_with("add/"));
    if (benchmark.contains("label")) continue;  // add's gradient is dy itself: nothing runs
    ++timed_kernels;
    CHECK(benchmark.at("items/s").get<double>() > 0);
    CHECK(benchmark.at("of_peak").get<double>() > 0);
  }
  CHECK(timed_kernels == 4);
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
  CHECK(json.at("ms_p25").get<double>() <= json.at("ms_median").get<double>());
  CHECK(json.at("ms_p75").get<double>() >= json.at("ms_median").get<double>());
  CHECK(json.at("bytes_in_step").get<double>() < json.at("tensor_bytes_peak").get<double>());
  // conv1 and conv2 of 5x5, fc1 to fc3: by hand, 3 passes but for the pictures' own gradient.
  const double conv1 = 28 * 28 * 6 * 75, rest = 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10;
  CHECK(json.at("gflop").get<double>() == Approx(4 * 2e-9 * (2 * conv1 + 3 * rest)).margin(5e-4));
}

}  // namespace tern
