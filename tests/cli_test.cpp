#include "tools/cli.h"

#include "core/error.h"
#include "core/version.h"
#include "tests/catch.h"

using namespace tern;

namespace {

TrainerCommand trainer(std::vector<const char*> args) {
  args.insert(args.begin(), "trainer");
  return parse_trainer(args);
}

EvaluateCommand evaluate_line(std::vector<const char*> args) {
  args.insert(args.begin(), "evaluate");
  return parse_evaluate(args);
}

TrainArgs train(const std::vector<const char*>& args) { return std::get<TrainArgs>(trainer(args)); }

struct BadLine {
  std::vector<const char*> args;
  std::string message;
};

template <class Parse>
void check_messages(const std::vector<BadLine>& lines, const Parse& parse) {
  for (const BadLine& line : lines) {
    std::string text, message = "no error";
    for (const char* arg : line.args) text += std::string(arg) + " ";
    INFO(text);
    try {
      parse(line.args);
    } catch (const ConfigError& e) {
      message = e.what();
    }
    CHECK_THAT(message, HasText(line.message));
  }
}

}  // namespace

TEST_CASE("cli: every switch of trainer reaches its field", "[cli]") {
  const TrainArgs plain = train({"c.json"});
  CHECK(plain.config == "c.json");
  CHECK(plain.overrides.empty());
  CHECK((plain.fold && plain.plan && plain.fusion && plain.planner && plain.graph));
  CHECK_FALSE(plain.resume.has_value());

  const TrainArgs a = train({"--set",
                             "optim.lr=1",
                             "c.json",
                             "--set=model={\"name\":\"lenet\"}",
                             "--out",
                             "o",
                             "--seed",
                             "7",
                             "--device",
                             "cpu",
                             "--precision",
                             "fp32",
                             "--threads",
                             "2",
                             "--epochs",
                             "10",
                             "--no-fold",
                             "--no-plan",
                             "--no-fusion",
                             "--no-planner",
                             "--no-graph",
                             "--dry-run",
                             "--overfit-batches",
                             "3",
                             "--max-time",
                             "1h30m",
                             "--expect-acc",
                             "0.75",
                             "--progress",
                             "json",
                             "--init-from",
                             "w.safetensors"});
  CHECK(a.config == "c.json");
  REQUIRE(a.overrides.size() == 7);
  CHECK(a.overrides[0].path == "optim.lr");
  CHECK(a.overrides[1].value == "{\"name\":\"lenet\"}");
  const Config c = parse_config("{}", "c.json", a.overrides);
  CHECK(c.run.seed == 7);
  CHECK(c.run.device == "cpu");
  CHECK(c.run.threads == 2);
  CHECK(c.train.epochs == 10);
  CHECK(c.model.name == ModelName::lenet);
  CHECK(a.out == "o");
  CHECK_FALSE((a.fold || a.plan || a.fusion || a.planner || a.graph));
  CHECK(a.dry_run);
  CHECK(a.overfit_batches == 3);
  CHECK(a.max_seconds == 5400.0);
  CHECK(a.expect_acc == 0.75);
  CHECK(a.progress == ProgressStyle::json);
  CHECK(!a.dashboard);
  CHECK(train({"--dashboard", "c.json"}).dashboard == "127.0.0.1:8090");
  CHECK(train({"c.json", "--dashboard=:0"}).dashboard == ":0");
  CHECK(a.init_from == "w.safetensors");
}

TEST_CASE("cli: --epochs with one number sets it, a range or list asks for a series", "[cli]") {
  CHECK(train({"c.json", "--epochs", "10"}).epochs.empty());
  CHECK(train({"c.json", "--epochs", "1..3"}).epochs == std::vector<int>{1, 2, 3});
  CHECK(train({"c.json", "--epochs", "4..4"}).epochs == std::vector<int>{4});
  CHECK(train({"c.json", "--epochs", "1,10,20,25"}).epochs == std::vector<int>{1, 10, 20, 25});
  CHECK(train({"c.json", "--seeds", "3..5"}).seeds == std::vector<uint64_t>{3, 4, 5});
  CHECK(parse_counts("18446744073709551614..18446744073709551615", "--seeds").size() == 2);
}

TEST_CASE("cli: --resume stands alone, with auto, or with a run", "[cli]") {
  CHECK(train({"c.json", "--resume"}).resume == "auto");
  CHECK(train({"--resume", "c.json"}).resume == "auto");
  CHECK(train({"--resume", "c.json"}).config == "c.json");
  CHECK(train({"c.json", "--resume", "auto"}).resume == "auto");
  CHECK(train({"c.json", "--resume", "--seed", "1"}).resume == "auto");
  CHECK(train({"--resume", "runs/x"}).resume == "runs/x");
  CHECK(train({"c.json", "--out", "d", "--seeds", "1..2", "--resume"}).resume == "auto");
  CHECK(train({"--resume=runs/x"}).config.empty());
}

TEST_CASE("cli: --profile stands alone, or has a number behind =", "[cli]") {
  CHECK_FALSE(train({"c.json"}).profile.has_value());
  CHECK(train({"--profile", "c.json"}).profile == 5);
  CHECK(train({"--profile", "c.json"}).config == "c.json");
  CHECK(train({"c.json", "--profile=7"}).profile == 7);
}

TEST_CASE("cli: commands of trainer", "[cli]") {
  const DataArgs fetch = std::get<DataArgs>(trainer({"data", "fetch", "cifar100", "--dir", "d"}));
  CHECK(fetch.action == DataArgs::Action::fetch);
  CHECK(fetch.name == "cifar100");
  CHECK(fetch.dir == "d");
  const DataArgs synth = std::get<DataArgs>(trainer({"data", "synth"}));
  CHECK(synth.action == DataArgs::Action::synth);
  CHECK(synth.dir == "data");
  CHECK(std::get<KeygenArgs>(trainer({"keygen", "job.token"})).file == "job.token");

  const VerifyResumeArgs verify = std::get<VerifyResumeArgs>(trainer({"verify-resume", "c.json", "--epochs", "2"}));
  CHECK(verify.train.config == "c.json");
  REQUIRE(verify.train.overrides.size() == 1);
  CHECK(train({"--print-schema"}).print_schema);
  CHECK(train({"c.json", "--print-config"}).print_config);
}

TEST_CASE("cli: --help and --version are text, not errors", "[cli]") {
  const std::string help = std::get<CliText>(trainer({"--help"})).text;
  for (const char* part : {"--overfit-batches", "verify-resume", "Examples:", "Exit codes:", "--no-planner"}) {
    CHECK_THAT(help, HasText(part));
  }
  CHECK_THAT(std::get<CliText>(trainer({"data", "fetch", "--help"})).text, HasText("cifar10 or cifar100"));
  CHECK_THAT(std::get<CliText>(evaluate_line({"--help"})).text, HasText("--compare"));
  CHECK(std::get<CliText>(trainer({"--version"})).text ==
        "trainer " + std::string(version()) + " (" + std::string(git_revision()) + ")\n");
}

TEST_CASE("cli: every wrong line of trainer has its own message", "[cli]") {
  check_messages(
      {
          {{}, "CONFIG is missing: wanted a JSON file; see --help"},
          {{"--resume"}, "CONFIG is missing"},
          {{"c.json", "--epoch", "3"}, "unknown option \"--epoch\"; did you mean \"--epochs\"?"},
          {{"c.json", "--no-fusoin"}, "unknown option \"--no-fusoin\"; did you mean \"--no-fusion\"?"},
          {{"c.json", "--frobnicate=3"}, "unknown option \"--frobnicate\"; see --help"},
          {{"c.json", "-x"}, "unknown option \"-x\""},
          {{"c.json", "d.json"}, "unexpected argument \"d.json\"; see --help"},
          {{"dta", "fetch"}, "unexpected argument \"fetch\""},
          {{"verify-resum"}, "unknown command \"verify-resum\"; did you mean \"verify-resume\"?"},
          {{"c.json", "--set"}, "--set"},
          {{"c.json", "--set", "lr"}, "--set lr: wanted KEY=VALUE, as in optim.lr=0.05"},
          {{"c.json", "--seed"}, "--seed"},
          {{"c.json", "--epochs", "x"}, "--epochs: got \"x\", wanted N, A..B or a list such as 1,10,20"},
          {{"c.json", "--epochs", "0"}, "--epochs: got 0, wanted 1 to 1000000"},
          {{"c.json", "--epochs", "5..1"}, "--epochs: got \"5..1\", which runs backwards"},
          {{"c.json", "--epochs", "1..99999999"}, "--epochs: got \"1..99999999\", wanted at most 10000 trainings"},
          {{"c.json", "--epochs", "1,,2"}, "--epochs: got \"1,,2\", wanted N, A..B"},
          {{"c.json", "--epochs", "1.5"}, "--epochs: got \"1.5\", wanted N, A..B"},
          {{"c.json", "--epochs", "0..3"}, "--epochs: got 0, wanted 1 to 1000000"},
          {{"c.json", "--profile=0"}, "--profile: got \"0\", wanted 1 to 1000 steps"},
          {{"c.json", "--profile", "--seeds", "1..2"}, "--profile: takes one training"},
          {{"c.json", "--profile", "--dry-run"}, "--profile and --dry-run: wanted one of the two"},
          {{"summary"}, "CONFIG"},
          {{"lr-find", "c.json", "--min-lr", "2", "--max-lr", "1"}, "--max-lr: wanted a number above --min-lr"},
          {{"lr-find", "c.json", "--out", "c.png"}, "--out: got \"c.png\", wanted FILE.svg"},
          {{"export", "run"}, "--onnx"},
          {{"completion", "tcsh"}, "bash"},
          {{"c.json", "--seeds", "a..b"}, "--seeds: got \"a..b\", wanted N, A..B"},
          {{"c.json", "--seeds", "1..2", "--seed", "3"}, "--seed and --seeds: wanted one of the two"},
          {{"c.json", "--seeds", "1..2", "--epochs", "1..2"}, "--epochs with a list and --seeds: wanted one"},
          {{"c.json", "--epochs", "1..2", "--resume"}, "--resume: a series of trainings goes on with --out DIR --resume auto"},
          {{"c.json", "--seeds", "1..2", "--out", "d", "--resume", "runs/x"}, "--resume: a series of trainings goes on with --out DIR --resume auto"},
          {{"c.json", "--resume", "--init-from", "f"}, "--resume and --init-from: wanted one of the two"},
          {{"c.json", "--print-config", "--print-schema"}, "--print-config and --print-schema: wanted one of the two"},
          {{"c.json", "--max-time", "30x"}, "--max-time: got \"30x\", wanted a time such as 90s, 30m or 1h30m"},
          {{"c.json", "--max-time", "0"}, "--max-time: got \"0\", wanted a time"},
          {{"c.json", "--max-time", "-3m"}, "--max-time"},
          {{"c.json", "--max-time", "inf"}, "--max-time: got \"inf\", wanted a time"},
          {{"c.json", "--expect-acc", "75"}, "--expect-acc: wanted an accuracy from 0 to 1"},
          {{"c.json", "--expect-acc", "nan"}, "--expect-acc: wanted an accuracy from 0 to 1"},
          {{"c.json", "--overfit-batches", "0"}, "--overfit-batches"},
          {{"c.json", "--overfit-batches", "two"}, "--overfit-batches"},
          {{"c.json", "--progress", "fancy"}, "--progress: got \"fancy\", wanted one of auto, bar, lines, json, none"},
          {{"c.json", "--dashboard=nowhere"}, "--dashboard: "},
          {{"c.json", "--dashboard", "--seeds", "1..2"}, "--dashboard: shows one training, not a series of them"},
          {{"report"}, "RUN is required"},
          {{"report", "run", "--target", "75"}, "--target: wanted an accuracy from 0 to 1"},
          {{"keygen"}, "FILE is required"},
          {{"keygen", "a", "b"}, "unexpected argument \"b\""},
          {{"data"}, "subcommand is required"},
          {{"data", "fetch"}, "NAME is required"},
          {{"data", "fetch", "mnist"}, "mnist not in {cifar10,cifar100}"},
          {{"data", "fetch", "cifar10", "--dri", "x"}, "unknown option \"--dri\"; did you mean \"--dir\"?"},
          {{"verify-resume"}, "CONFIG is required"},
          {{"verify-resume", "c.json", "--epochs", "1..3"}, "--epochs: verify-resume takes one number"},
      },
      trainer);
}

TEST_CASE("cli: errors of switches that set config values name the switch", "[cli]") {
  const auto message = [](const std::vector<const char*>& args) {
    try {
      parse_config("{}", "c.json", train(args).overrides);
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(message({"c.json", "--threads", "many"}) ==
        "--threads many: run.threads: got \"many\", wanted an integer from 0 to 4096");
  CHECK_THAT(message({"c.json", "--seed=-1"}), HasText("--seed -1: run.seed: got -1, wanted an integer"));
  CHECK_THAT(message({"c.json", "--device", "tpu"}), HasText("--device tpu: run.device: got device \"tpu\""));
  CHECK_THAT(message({"c.json", "--device", "cpu", "--precision", "fp16"}),
             HasText("--precision fp16: run.precision: precision fp16 needs CUDA, the device is cpu"));
  CHECK_THAT(message({"c.json", "--precision", "\"x"}), HasText("run.precision: got"));
}

TEST_CASE("cli: evaluate", "[cli]") {
  const EvaluateArgs plain = std::get<EvaluateArgs>(evaluate_line({"runs/a"}));
  CHECK(plain.checkpoints == std::vector<std::string>{"runs/a"});
  CHECK_FALSE((plain.train_split || plain.compare || plain.tta != TtaName::none || plain.json));
  const EvaluateArgs a = std::get<EvaluateArgs>(
      evaluate_line({"a",     "b",        "--data", "d",         "--split", "train",   "--per-class", "--confusion",
                     "c.csv", "--worst",  "9",      "--compare", "--tta",   "flip",    "--json",      "--model",
                     "lenet", "--device", "cpu",    "--threads", "2",       "--batch", "64",      "--predictions",
                     "p.csv"}));
  CHECK(a.checkpoints == std::vector<std::string>{"a", "b"});
  CHECK(a.data == "d");
  CHECK((a.train_split && a.per_class && a.compare && a.tta == TtaName::flip && a.json));
  CHECK(a.confusion == "c.csv");
  CHECK(a.predictions == "p.csv");
  CHECK(a.worst == 9);
  CHECK(a.model == "lenet");
  CHECK(a.threads == 2);
  CHECK(a.batch == 64);
  check_messages(
      {
          {{}, "CHECKPOINT is required"},
          {{"a", "--compare"}, "--compare: got 1 checkpoint, wanted at least 2"},
          {{"a", "--split", "val"}, "--split: got \"val\", wanted one of test, train"},
          {{"a", "--tta", "crop"}, "--tta: got \"crop\", wanted one of none, flip"},
          {{"a", "--worst", "-1"}, "--worst"},
          {{"a", "--batch", "0"}, "--batch"},
          {{"a", "--device", "gpu"}, "got device \"gpu\", wanted auto, cpu, cuda or cuda:i"},
          {{"a", "--confuson", "f"}, "unknown option \"--confuson\"; did you mean \"--confusion\"?"},
      },
      evaluate_line);
}
