// What the programs leave behind and print: run folder, experiments, evaluate, progress.
#include <cmath>

#include "tests/catch.h"
#include "tests/programs.h"

using namespace tern::test;
using nlohmann::json;

namespace {

/// Sum of the numbers of a confusion.csv.
int confusion_sum(const std::filesystem::path& path) {
  int sum = 0;
  const auto lines = lines_of(read_file(path));
  for (size_t i = 1; i < lines.size(); ++i)
    for (size_t comma = lines[i].find(','); comma != std::string::npos; comma = lines[i].find(',', comma + 1))
      sum += std::atoi(lines[i].c_str() + comma + 1);
  return sum;
}

}  // namespace

TEST_CASE("trainer: a run folder has every file with its columns", "[programs]") {
  const Workbench bench;
  const Outcome outcome = bench.train({"--out", "run", "--set", "data.val_fraction=0.1"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK_THAT(outcome.out, HasText("test accuracy "));
  CHECK_THAT(outcome.out, HasText("\nrun\n"));
  const auto run = bench / "run";

  CHECK(
      lines_of(read_file(run / "metrics.csv"))[0] ==
      "epoch,step,train_loss,train_acc,test_loss,test_acc,lr,seconds,images_per_s,data_wait,peak_rss,gpu_util,gpu_mem,"
      "val_loss,val_acc");
  CHECK(lines_of(read_file(run / "timing.csv"))[0] == "epoch,data,forward,backward,optimizer,eval");
  CHECK(csv_column(run / "metrics.csv", "val_acc").size() == 2);
  CHECK(!csv_column(run / "metrics.csv", "val_acc")[1].empty());
  CHECK(lines_of(read_file(run / "steps.jsonl")).size() == 18);  // 279 pictures: 9 steps an epoch
  CHECK_THAT(read_file(run / "log.txt"), HasText("epoch   2/2"));

  const json config = json::parse(read_file(run / "config.json")), env = json::parse(read_file(run / "env.json"));
  CHECK(config.at("train").at("micro_batch") == 8);
  CHECK(config.at("checkpoint").at("best") == "test_acc");  // a default is written too
  for (const char* key : {"tern", "git_revision", "argv", "cpu", "threads", "simd", "compiler"})
    CHECK(env.contains(key));

  const json summary = json::parse(read_file(run / "summary.json")), eval = json::parse(read_file(run / "eval.json"));
  for (const char* key : {"seconds", "best_acc", "last_acc", "peak_rss"}) CHECK(summary.at(key).is_number());
  CHECK(summary.at("data") == "synthetic");
  CHECK(summary.at("epochs") == 2);
  CHECK(eval.at("pictures") == 100);
  CHECK(eval.at("top1") == summary.at("last_acc"));
  CHECK(eval.at("top5").get<double>() >= eval.at("top1").get<double>());
  CHECK(eval.at("top1").get<double>() == Approx(std::stod(csv_column(run / "metrics.csv", "test_acc")[1])));
  CHECK(confusion_sum(run / "confusion.csv") == 100);
  int pictures = 0, correct = 0;
  for (const std::string& n : csv_column(run / "per_class.csv", "pictures")) pictures += std::stoi(n);
  for (const std::string& n : csv_column(run / "per_class.csv", "correct")) correct += std::stoi(n);
  CHECK(pictures == 100);
  CHECK(correct == std::lround(100 * eval.at("top1").get<double>()));
  CHECK(std::filesystem::exists(run / "checkpoints/best.safetensors"));
  CHECK(std::filesystem::exists(run / "checkpoints/last.safetensors"));
  CHECK(csv_column(run / "predictions.csv", "label").size() == 100);
}

TEST_CASE("trainer --epochs A..B and --seeds A..B: a training each, a failing one is passed over", "[programs]") {
  const Workbench bench;
  std::filesystem::create_directories(bench / "series");
  write_file(bench / "series/epochs-002", "a file in the way of the second training");
  const Outcome epochs = bench.train({"--out", "series", "--epochs", "1..3"});
  INFO(epochs.err);
  CHECK(epochs.code == 0);
  const auto table = bench / "series/experiments.csv";
  CHECK(csv_column(table, "epochs") == Args{"1", "2", "3"});
  CHECK(csv_column(table, "accuracy")[1].empty());
  CHECK(!csv_column(table, "accuracy")[2].empty());
  CHECK_THAT(csv_column(table, "error")[1], HasText("cannot be made"));
  CHECK_THAT(epochs.err, HasText("epochs-002 failed and is passed over"));
  CHECK(csv_column(bench / "series/epochs-003/metrics.csv", "epoch").size() == 3);
  CHECK(bench.train({"--out", "series", "--epochs", "1..3"}).code == 2);  // never over another series
  const std::string third = csv_column(table, "accuracy")[2];
  const std::string weights = bench.last_digest("series/epochs-003");
  std::filesystem::remove(bench / "series/epochs-002");
  CHECK(bench.train({"--out", "series", "--epochs", "1..3", "--resume", "auto"}).code == 0);
  CHECK(!csv_column(table, "accuracy")[1].empty());
  CHECK(csv_column(table, "accuracy")[2] == third);
  CHECK(bench.last_digest("series/epochs-003") == weights);
  std::filesystem::remove(table);  // stopped in its first training
  CHECK(bench.train({"--out", "series", "--epochs", "1..3"}).code == 2);

  const Outcome seeds = bench.train({"--out", "seeds", "--seeds", "1..2", "--epochs", "1"});
  CHECK(seeds.code == 0);
  CHECK_THAT(read_file(bench / "seeds/report.html"), HasText("class ComparisonPage"));
  CHECK(csv_column(bench / "seeds/experiments.csv", "seed") == Args{"1", "2"});
  CHECK_THAT(seeds.out, HasText("accuracy of 2 seeds: mean"));
  CHECK(bench.last_digest("seeds/seed-1") != bench.last_digest("seeds/seed-2"));
  CHECK(bench.train({"--out", "more", "--seeds", "1..2", "--expect-acc", "0.99"}).code == 6);
}

TEST_CASE("evaluate: agrees with the trainer, whatever the batch and threads; --compare, --worst, --tta, --split",
          "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run"}).code == 0);  // with train.ema: the average is what it evaluates
  REQUIRE(bench.train({"--out", "other", "--set", "train.ema=null", "--seed", "9"}).code == 0);
  const json eval = json::parse(read_file(bench / "run/eval.json"));
  const std::string last = "run/checkpoints/last.safetensors";

  auto evaluated = [&](const Args& args) {
    Args command{"evaluate"};
    command.insert(command.end(), args.begin(), args.end());
    command.push_back("--json");
    const Outcome outcome = bench.run(command);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(outcome.err.empty());
    return json::parse(outcome.out);
  };
  for (const Args& args :
       {Args{last}, Args{last, "--batch", "7", "--threads", "1"}, Args{last, "--model", "tiny.json"}}) {
    const json result = evaluated(args).at("checkpoints").at(0);
    for (const char* key : {"loss", "top1", "top5", "confusion", "per_class", "pictures"})
      CHECK(result.at(key) == eval.at(key));
  }
  CHECK(evaluated({last, "--tta", "flip"}).at("checkpoints").at(0).at("loss") != eval.at("loss"));
  CHECK(evaluated({last, "--split", "train"}).at("checkpoints").at(0).at("pictures") == 320);
  const json worst = evaluated({last, "--worst", "3"}).at("checkpoints").at(0).at("worst");
  REQUIRE(worst.size() == 3);
  CHECK(worst[0].at("loss").get<double>() >= worst[2].at("loss").get<double>());
  const json pair = evaluated({"run", "other", "--compare"}).at("compare").at(0);
  CHECK(pair.at("p_value").get<double>() >= 0);
  CHECK(pair.at("p_value").get<double>() <= 1);

  const Outcome text = bench.run({"evaluate", "run", "--per-class", "--worst", "2", "--confusion", "matrix.csv"});
  CHECK(text.code == 0);
  for (const char* part : {"top-1", "top-5", "recall", "striped disc", "worst mistakes", "test_batch.bin record"})
    CHECK_THAT(text.out, HasText(part));
  CHECK(confusion_sum(bench / "matrix.csv") == 100);
}

TEST_CASE("trainer: progress goes to stderr in plain lines, as JSON, or not at all", "[programs]") {
  const Workbench bench;
  const Outcome lines = bench.train({"--out", "lines"});
  CHECK(lines.err.find('\r') == std::string::npos);
  CHECK(lines.err.find('\033') == std::string::npos);
  CHECK_THAT(lines.err, HasText("epoch   1/2"));
  CHECK(lines.out.find("images/s") == std::string::npos);

  const Outcome objects = bench.train({"--out", "json", "--progress", "json"});
  for (const std::string& line : lines_of(objects.err)) CHECK(json::parse(line).at("event").is_string());
  CHECK_THAT(objects.err, HasText("\"event\":\"step\""));
  CHECK(bench.train({"--out", "none", "--progress", "none"}).err.empty());

  const Outcome plain = bench.run({"trainer", "tiny.json", "--out", "bar", "--progress", "bar"}, {"NO_COLOR=1"});
  CHECK(plain.err.find('\r') != std::string::npos);
  CHECK(plain.err.find("\033[36m") == std::string::npos);
}

TEST_CASE("trainer: --dry-run, --print-config and --print-schema write nothing; --overfit-batches learns its pictures",
          "[programs]") {
  const Workbench bench;
  const Outcome dry = bench.train({"--dry-run", "--out", "dry"});
  CHECK(dry.code == 0);
  CHECK(!std::filesystem::exists(bench / "dry"));
  const Outcome config = bench.train({"--print-config"});
  CHECK(json::parse(config.out).at("train").at("lanes") == 4);
  CHECK(json::parse(bench.run({"trainer", "--print-schema"}).out).contains("properties"));
  const Outcome overfit =
      bench.train({"--out", "overfit", "--overfit-batches", "1", "--epochs", "3", "--set", "train.ema=null"});
  CHECK(overfit.code == 0);
  CHECK(json::parse(read_file(bench / "overfit/eval.json")).at("pictures") == 32);
}

TEST_CASE("trainer --init-from: takes the weights only; --max-time stops with a checkpoint", "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run"}).code == 0);
  const Outcome started =
      bench.train({"--out", "warm", "--init-from", "run/checkpoints/last.safetensors", "--epochs", "1"});
  INFO(started.err);
  CHECK(started.code == 0);
  CHECK(json::parse(read_file(bench / "warm/summary.json")).at("steps") == 10);

  const Outcome timed = bench.train({"--out", "timed", "--epochs", "1000", "--max-time", "0.05s"});
  CHECK(timed.code == 0);
  CHECK_THAT(read_file(bench / "timed/summary.json"), HasText("--max-time"));
  CHECK(std::filesystem::exists(bench / "timed/checkpoints/last.safetensors"));
}
