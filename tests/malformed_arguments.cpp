// Command lines that trainer and evaluate must refuse: exit 2 unless a file is at fault.
#include "tests/malformed.h"

namespace tern::test {
namespace {

/// Behind "trainer tiny.json --out none --progress none".
std::vector<Case> recipes() {
  const std::vector<std::pair<Args, std::string>> table = {
      {{"extra"}, "unexpected argument \"extra\""},
      {{"--epoch", "3"}, "unknown option \"--epoch\"; did you mean \"--epochs\"?"},
      {{"--set", "nothing"}, "--set nothing"},
      {{"--set", "=1"}, "--set =1"},
      {{"--set", "optim..lr=1"}, "--set optim..lr=1"},
      {{"--set", "optim.0.lrr=1"}, "--set optim.0.lrr=1: optim.0.lrr: unknown key; did you mean \"lr\"?"},
      {{"--set", "optim.5.lr=1"}, "--set optim.5.lr=1: optim is a list of 2, got \"5\""},
      {{"--set", "train.epochs.x=1"}, "--set train.epochs.x=1: train.epochs is 2: nothing is below it"},
      {{"--set", "train.lanes=4,4"}, "--set train.lanes=4,4: train.lanes: got \"4,4\", wanted an integer"},
      {{"--set", "data.dir=a\xff"}, "--set data.dir=a...: byte 10 is not UTF-8"},
      {{"--set", "a\xff=1"}, "--set a...: byte 1 is not UTF-8"},
      {{"--set", "train={\"lanes\":1,\"lanes\":2}"}, "lanes: the key occurs twice"},
      {{"--set", "optim.0.params=\"nothing*\""}, "optim.0.params: 'nothing*' fits no parameter"},
      {{"--set", "optim.1.params=\"bn*\""}, "optim: no group's pattern fits the parameter 'fc.weight'"},
      {{"--set", "data.val_fraction=0.0001"}, "val_fraction 0.0001"},
      {{"--set", "data.drop_last=true", "--set", "data.limit=null", "--set", "train.lanes=100"},
       "320 pictures give no batch of 800"},
      {{"--epochs", "0"}, "--epochs: got 0, wanted 1 to 1000000"},
      {{"--epochs", "many"}, "--epochs: got \"many\", wanted N, A..B or a list"},
      {{"--epochs", "1,,2"}, "--epochs: got \"1,,2\", wanted N, A..B or a list"},
      {{"--epochs", "3..1"}, "--epochs: got \"3..1\", which runs backwards"},
      {{"--epochs", "1..20000"}, "--epochs: got \"1..20000\", wanted at most 10000 trainings"},
      {{"--epochs", "1,2", "--seeds", "1..2"}, "--epochs with a list and --seeds: wanted one"},
      {{"--seeds", "1..2", "--seed", "1"}, "--seed and --seeds: wanted one of the two"},
      {{"--seeds", "-1"}, "--seeds: got \"-1\""},
      {{"--seed", "x"}, "--seed x: run.seed: got \"x\""},
      {{"--threads", "-3"}, "--threads -3: run.threads: got -3"},
      {{"--device", "gpu"}, "--device gpu: run.device: got device \"gpu\""},
      {{"--device", "cuda:"}, "--device cuda:: run.device: got device \"cuda:\""},
      {{"--precision", "fp16", "--device", "cpu"}, "--precision fp16: run.precision: precision fp16 needs CUDA"},
      {{"--max-time", "soon"}, "--max-time: got \"soon\", wanted a time such as 90s"},
      {{"--max-time", "0s"}, "--max-time: got \"0s\""},
      {{"--expect-acc", "1.01"}, "--expect-acc: wanted an accuracy from 0 to 1"},
      {{"--expect-acc", "good"}, "good"},
      {{"--progress=loud"}, "--progress"},
      {{"--overfit-batches", "0"}, "--overfit-batches"},
      {{"--init-from"}, "--init-from"},
      {{"--resume", "run", "--init-from", "run"}, "--resume and --init-from: wanted one of the two"},
      {{"--resume", "run", "--epochs", "1..2"}, "--resume: a series of trainings goes on"},
      {{"--resume", "run"}, "--resume run and --out none are different run folders"},
      {{"--print-config", "--print-schema"}, "--print-config and --print-schema: wanted one of the two"},
  };
  std::vector<Case> cases;
  for (const auto& [args, says] : table) {
    Args command{"trainer", "tiny.json", "--out", "none", "--progress", "none"};
    command.insert(command.end(), args.begin(), args.end());
    cases.push_back({command, 2, says});
  }
  return cases;
}

std::vector<Case> commands() {
  const std::string long_name(300, 'n');
  auto torn_run = [](const Workbench& bench) {
    std::filesystem::create_directories(bench / "torn");
    write_file(bench / "torn/config.json", "{\"run\": {");
  };
  return {
      {{"trainer"}, 2, "CONFIG is missing"},
      {{"trainer", "absent.json"}, 2, "absent.json: cannot be read: No such file or directory"},
      {{"trainer", "data/synthetic"}, 2, "data/synthetic: is a directory, wanted a JSON file"},
      {{"trainer", long_name + ".json"}, 2, "File name too long"},
      {{"trainer", "dat"}, 2, "unknown command \"dat\"; did you mean \"data\"?"},
      {{"trainer", "--resume", "nowhere"}, 2, "nowhere"},
      {{"trainer", "--resume", "torn"}, 2, "torn/config.json:1:10: not valid JSON", torn_run},
      {{"trainer", "data"}, 2, "subcommand"},
      {{"trainer", "data", "fetch"}, 2, "NAME"},
      {{"trainer", "data", "fetch", "cifar11"}, 2, "cifar11"},
      {{"trainer", "data", "fetch", "cifar10", "--dir", "tiny.json"}, 1, "cannot create tiny.json"},
      {{"trainer", "data", "synth", "--dir", "x", "--train", "7"}, 2, "train is 7, wanted a multiple of 5"},
      {{"trainer", "data", "synth", "--dir", "x", "--test", "0"}, 2, "test is 0, wanted 1..10000000"},
      {{"trainer", "data", "synth", "--train", "some"}, 2, "some"},
      {{"trainer", "verify-resume"}, 2, "CONFIG is required"},
      {{"trainer", "verify-resume", "tiny.json", "--epochs", "1..2"}, 2, "--epochs: verify-resume takes one number"},
      {{"trainer", "verify-resume", "tiny.json", "--stop-after", "0"}, 2, "--stop-after"},
      {{"trainer", "predict"}, 2, "CHECKPOINT is required"},
      {{"trainer", "predict", "run"}, 2, "IMAGE is required"},
      {{"trainer", "predict", "run", "x.png", "--top", "0"}, 2, "--top"},
      {{"trainer", "predict", "run", "x.png", "--tta", "turn"}, 2, "--tta: got \"turn\", wanted one of none, flip"},
      {{"trainer", "predict", "run", "x.png", "--devise", "cpu"}, 2, "unknown option \"--devise\"; did you mean \"--device\"?"},
      {{"trainer", "predict", "nowhere", "x.png"}, 3, "nowhere: no such checkpoint"},
      {{"ps_worker", "--server", "h:1", "--token-file", "t", "--name", "a\nb"}, 2, "--name: wanted at most 64 bytes of UTF-8"},
      {{"ps_server", "--shard-of", "h:1", "--listen", ":0", "--token-file", "t", "--advertise", long_name + ":1"}, 2, "--advertise: wanted at most 300 bytes"},
      {{"evaluate"}, 2, "CHECKPOINT is required"},
      {{"evaluate", "run", "--splits", "test"}, 2, "unknown option \"--splits\"; did you mean \"--split\"?"},
      {{"evaluate", "run", "--split", "half"}, 2, "--split: got \"half\", wanted one of test, train"},
      {{"evaluate", "run", "--tta", "spin"}, 2, "--tta: got \"spin\", wanted one of none, flip"},
      {{"evaluate", "run", "--compare"}, 2, "--compare: got 1 checkpoint, wanted at least 2"},
      {{"evaluate", "a", "b", "--confusion", "c.csv"}, 2, "--confusion wants one checkpoint"},
      {{"evaluate", "a", "b", "--predictions", "p.csv"}, 2, "--predictions wants one checkpoint"},
      {{"evaluate", "run", "--device", "tpu"}, 2, "got device \"tpu\""},
      {{"evaluate", "run", "--worst", "-1"}, 2, "--worst"},
      {{"evaluate", "run", "--threads", "5000"}, 2, "--threads"},
      {{"evaluate", "run", "--batch", "0"}, 2, "--batch"},
  };
}

}  // namespace

std::vector<Case> malformed_arguments() {
  std::vector<Case> cases = recipes();
  for (Case& c : commands()) cases.push_back(std::move(c));
  return cases;
}

}  // namespace tern::test
