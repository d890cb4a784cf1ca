// The same training ends in the same bytes however it is run, stopped, killed or resumed.
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "tests/catch.h"
#include "tests/programs.h"
#include "tools/data_digest.h"

using namespace tern::test;

namespace {

/// Every row of the logs once and in order: a resumed run trains some steps again.
void check_logs(const Workbench& bench, const std::string& run, int epochs, int steps_per_epoch) {
  std::vector<std::string> numbers;
  for (int epoch = 1; epoch <= epochs; ++epoch) numbers.push_back(std::to_string(epoch));
  CHECK(csv_column(bench / run / "metrics.csv", "epoch") == numbers);
  CHECK(csv_column(bench / run / "timing.csv", "epoch") == numbers);
  std::vector<int> steps, wanted;
  for (const std::string& line : lines_of(read_file(bench / run / "steps.jsonl")))
    steps.push_back(nlohmann::json::parse(line).at("step").get<int>());
  for (int step = 1; step <= epochs * steps_per_epoch; ++step) wanted.push_back(step);
  CHECK(steps == wanted);
}

/// The columns of metrics.csv that are no measurements are those of an uninterrupted run.
void check_metrics(const Workbench& bench, const std::string& run, const std::string& straight) {
  for (const char* column : {"step", "train_loss", "train_acc", "test_loss", "test_acc", "lr"}) {
    INFO(column);
    CHECK(csv_column(bench / run / "metrics.csv", column) == csv_column(bench / straight / "metrics.csv", column));
  }
}

/// Waits until the run has logged `steps` steps.
void wait_for_steps(Process& process, const std::filesystem::path& run, size_t steps) {
  while (process.running() && lines_of(read_file(run / "steps.jsonl")).size() < steps)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace

TEST_CASE("trainer: threads, plan, memory planner, folding, loader threads and fusion do not change a bit",
          "[programs]") {
  const Workbench bench;
  const std::vector<Args> ways = {{},
                                  {"--threads", "1"},
                                  {"--threads", "3"},
                                  {"--no-plan"},
                                  {"--no-planner"},
                                  {"--no-fold"},
                                  {"--no-fold", "--no-plan", "--threads", "1"},
                                  {"--no-fusion"},
                                  {"--set", "data.loader_threads=0"},
                                  {"--set", "data.loader_threads=2"},
                                  {"--set", "data.prefetch=1"}};
  std::string digest;
  for (size_t i = 0; i < ways.size(); ++i) {
    Args args = ways[i];
    std::string text;
    for (const std::string& arg : args) text += arg + " ";
    INFO(text);
    const std::string run = "way" + std::to_string(i);
    args.insert(args.end(), {"--out", run});
    const Outcome outcome = bench.train(args);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    if (i == 0) digest = bench.last_digest(run);
    CHECK(bench.last_digest(run) == digest);
  }
  REQUIRE(bench.train({"--out", "seed", "--seed", "8"}).code == 0);
  CHECK(bench.last_digest("seed") != digest);
}

TEST_CASE("trainer verify-resume: equal for a stop in the first, a middle, the last, and the ragged step",
          "[programs]") {
  const Workbench bench;
  for (const std::string stop : {"1", "5", "9", "10", "13", "19"}) {
    INFO("after step " << stop);
    const Outcome outcome =
        bench.run({"trainer", "verify-resume", "tiny.json", "--out", "verify" + stop, "--stop-after", stop});
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 0);
    CHECK_THAT(outcome.out, HasText("\nequal\n"));
    CHECK_THAT(outcome.err, HasText("stopped by"));
    CHECK(bench.last_digest("verify" + stop + "/straight") == bench.last_digest("verify" + stop + "/resumed"));
  }
}

TEST_CASE("trainer: a run that early stopping ended stays ended when it is resumed", "[programs]") {
  const Workbench bench;
  const Args recipe{"--out", "run",   "--epochs",
                    "9",     "--set", R"(train.early_stop={"metric":"test_acc","patience":1,"min_delta":0.9})"};
  const Outcome first = bench.train(recipe);
  REQUIRE(first.code == 0);
  CHECK_THAT(first.err, HasText("early stop: no gain in test_acc for 1 epochs"));
  const std::string digest = bench.last_digest("run");
  Args again = recipe;
  again.insert(again.end(), {"--resume", "auto"});
  CHECK(bench.train(again).code == 0);
  CHECK(bench.last_digest("run") == digest);
  CHECK(csv_column(bench / "run" / "metrics.csv", "epoch").size() == 2);
}

TEST_CASE("trainer: SIGTERM and SIGINT in the middle of an epoch lose nothing", "[programs]") {
  const Workbench bench;
  const Args recipe{"--epochs", "20", "--threads", "1"};
  auto command = [&](const std::string& out) {
    Args args{"trainer", "tiny.json", "--out", out};
    args.insert(args.end(), recipe.begin(), recipe.end());
    return args;
  };
  REQUIRE(bench.run(command("straight")).code == 0);
  const std::string digest = bench.last_digest("straight");

  for (const auto& [signal, code] : {std::pair{SIGTERM, 143}, {SIGINT, 130}}) {
    const std::string out = "stopped" + std::to_string(code);
    Process process(command(out), bench.path());
    wait_for_steps(process, bench / out, 25);
    process.send(signal);
    const Outcome stopped = process.wait();
    INFO(stopped.err);
    REQUIRE(stopped.code == code);
    CHECK_THAT(stopped.err, HasText("stopped by signal " + std::to_string(signal) + " in epoch"));
    CHECK_THAT(read_file(bench / out / "log.txt"), HasText("--resume goes on from here"));
    CHECK_THAT(read_file(bench / out / "summary.json"), HasText("\"stopped_by\": \"signal"));

    Args resume = command(out);
    resume.push_back("--resume");
    resume.push_back(out);
    const Outcome resumed = bench.run(resume);
    INFO(resumed.err);
    CHECK(resumed.code == 0);
    CHECK_THAT(resumed.err, HasText("resumed from"));
    CHECK(bench.last_digest(out) == digest);
    check_logs(bench, out, 20, 10);
    check_metrics(bench, out, "straight");
  }
}

TEST_CASE("trainer: a second signal ends it at once", "[programs]") {
#if defined(__SANITIZE_THREAD__)
  SKIP("ThreadSanitizer holds signals back until the program next waits for something");
#endif
  const Workbench bench;
  Process process({"trainer", "tiny.json", "--out", "run", "--epochs", "1000"}, bench.path());
  wait_for_steps(process, bench / "run", 5);
  process.send(SIGSTOP);  // so that both are there before it can end in good order
  process.send(SIGINT);
  process.send(SIGTERM);
  process.send(SIGCONT);
  const Outcome outcome = process.wait();
  CHECK((outcome.code == 130 || outcome.code == 143));
  CHECK(read_file(bench / "run" / "log.txt").find("stopped by") == std::string::npos);
}

TEST_CASE("trainer: a kill before the first checkpoint starts anew, with every step logged once", "[programs]") {
  const Workbench bench;
  const Args command{"trainer",  "tiny.json",
                     "--out",    "run",
                     "--resume", "auto",
                     "--epochs", "1",
                     "--set",    "train.lanes=1",
                     "--set",    "train.micro_batch=1",
                     "--set",    "checkpoint.every_steps=null"};
  Process process(command, bench.path());
  wait_for_steps(process, bench / "run", 3);
  process.send(SIGKILL);
  process.wait();
  if (std::filesystem::exists(bench / "run/checkpoints/last.safetensors")) {
    WARN("the whole epoch went by before the kill: nothing is tested");
    return;
  }
  const Outcome again = bench.run(command);
  CHECK(again.code == 0);
  CHECK_THAT(again.err, HasText("starting at the beginning"));
  check_logs(bench, "run", 1, 310);
}

TEST_CASE("trainer: --resume mends links that a kill between a save and its links left behind", "[programs]") {
  namespace fs = std::filesystem;
  const Workbench bench;
  // The training loss falls in the second epoch, so that the last one is the best.
  const Args recipe{"trainer", "tiny.json", "--out", "run", "--resume", "auto", "--set", "checkpoint.best=train_loss",
                    "--set", "checkpoint.keep=9"};
  REQUIRE(bench.run(recipe).code == 0);
  const fs::path folder = bench / "run/checkpoints";
  const std::string last = bench.last_digest("run");
  REQUIRE(tern::data::sha256_file(folder / "best.safetensors") == last);

  // As if killed right after step-0000000020.safetensors was there.
  for (const char* name : {"last.safetensors", "best.safetensors"}) {
    fs::remove(folder / name);
    fs::create_hard_link(folder / "step-0000000010.safetensors", folder / name);
  }
  REQUIRE(bench.last_digest("run") != last);
  const Outcome again = bench.run(recipe);
  INFO(again.err);
  REQUIRE(again.code == 0);
  CHECK(bench.last_digest("run") == last);
  CHECK(tern::data::sha256_file(folder / "best.safetensors") == last);
}

/// TERN_KILLS sets the number of kills, TERN_KILLS_SEED their instants.
TEST_CASE("trainer: SIGKILL at random instants, then --resume auto, ends in the same bytes", "[programs]") {
  const Workbench bench;
  const Args recipe{"trainer", "tiny.json", "--epochs", "12"};
  auto command = [&](const Args& more) {
    Args args = recipe;
    args.insert(args.end(), more.begin(), more.end());
    return args;
  };
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(bench.run(command({"--out", "straight"})).code == 0);
  const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;

  const char* count = std::getenv("TERN_KILLS");
  const char* seed = std::getenv("TERN_KILLS_SEED");
  const int kills = count ? std::atoi(count) : 5;
  std::mt19937 random(seed ? static_cast<unsigned>(std::atoi(seed)) : 1);
  int unfinished = 0;
  for (int kill = 0; kill < kills; ++kill) {
    // Kills that come after the end say nothing: a run is started anew when the one before has ended.
    const std::string out = "killed" + std::to_string(kill / 5);
    Process process(command({"--out", out, "--resume", "auto"}), bench.path());
    std::this_thread::sleep_for(whole * std::uniform_real_distribution(0.02, 0.5)(random));
    process.send(SIGKILL);
    unfinished += process.wait().code == -SIGKILL;
    if (kill % 5 != 4 && kill + 1 != kills) continue;
    const Outcome last = bench.run(command({"--out", out, "--resume", "auto"}));
    INFO(last.err);
    REQUIRE(last.code == 0);
    CHECK(bench.last_digest(out) == bench.last_digest("straight"));
    const auto best = [&](const std::string& run) { return tern::data::sha256_file(bench / run / "checkpoints/best.safetensors"); };
    CHECK(best(out) == best("straight"));
    check_logs(bench, out, 12, 10);
    check_metrics(bench, out, "straight");
  }
  CHECK(unfinished > 0);
}
