// Exit codes and messages of the programs, from what people get wrong and what goes wrong.
#include <signal.h>

#include <cmath>
#include <cstring>
#include <set>

#include "nn/safetensors.h"
#include "tests/catch.h"
#include "tests/data_test_util.h"
#include "tests/programs.h"

using namespace tern::test;

namespace {

/// A case of the table: a command, its exit code, and what its message must say.
struct Case {
  Args command;
  int code;
  std::string says;
};

/// Runs every case; messages must differ from each other.
void check_cases(const Workbench& bench, const std::vector<Case>& cases) {
  std::set<std::string> messages;
  for (const Case& c : cases) {
    std::string text;
    for (const std::string& part : c.command) text += part + " ";
    INFO(text);
    const Outcome outcome = bench.run(c.command);
    CHECK(outcome.code == c.code);
    CHECK_THAT(outcome.err, HasText(c.says));
    CHECK(outcome.err.starts_with(c.command[0] + ": "));
    CHECK(outcome.out.empty());
    CHECK(messages.insert(outcome.err).second);
  }
}

/// Copies a checkpoint with other metadata: `change` edits it.
template <class Change>
void rewrite_metadata(const std::filesystem::path& from, const std::filesystem::path& to, const Change& change) {
  const auto file = tern::SafetensorsFile::open(from);
  std::vector<tern::TensorSource> sources;
  for (const tern::TensorEntry& entry : file.entries())
    sources.push_back(tern::tensor_source(entry.name, entry.spec, file.bytes(entry)));
  tern::Metadata metadata = file.metadata();
  change(metadata);
  tern::write_safetensors(to, sources, metadata);
}

/// How far the last byte of a tensor lies from the file's end.
int64_t tail_of(const std::filesystem::path& path, const std::string& tensor) {
  const auto file = tern::SafetensorsFile::open(path);
  const tern::TensorEntry& entry = file.at(tensor);
  return static_cast<int64_t>(std::filesystem::file_size(path) - entry.offset - file.bytes(entry).size()) + 1;
}

}  // namespace

TEST_CASE("programs: wrong arguments and configs are exit 2, each with its own message", "[programs]") {
  const Workbench bench;
  write_file(bench / "syntax.json", "{\"train\": {\"epochs\": 1,}}");
  write_file(bench / "unknown.json", "{\"train\": {\"epoch\": 1}}");
  write_file(bench / "twice.json", "{\"train\": {}, \"train\": {}}");
  write_file(bench / "range.json", "{\"train\": {\"lanes\": 0}}");
  write_file(bench / "type.json", "{\"optim\": {\"lr\": \"fast\"}}");
  write_file(bench / "layer.json", R"({"data": {"name": "synthetic"}, "model": {"layers": [{"type": "conv3d"}]}})");
  write_file(bench / "option.json",
             R"({"data": {"name": "synthetic"}, "model": {"layers": [{"type": "relu", "out": 3}]}})");
  write_file(bench / "shape.json", R"({"data": {"name": "synthetic"}, "model": {"layers": [
    {"type": "conv2d", "name": "big", "out": 4, "kernel": 99}]}})");
  write_file(bench / "classes.json", R"({"data": {"name": "synthetic"}, "model": {"layers": [
    {"type": "global_avg_pool"}, {"type": "linear", "out": 7}]}})");
  auto train = [](const std::string& config, Args more = {}) {
    Args command{"trainer", config, "--out", "none"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  };
  const std::string tiny = "tiny.json";
  check_cases(bench, {
                         {{"trainer"}, 2, "CONFIG is missing"},
                         {{"trainer", "absent.json"}, 2, "absent.json"},
                         {train("syntax.json"), 2, "syntax.json:1"},
                         {train("unknown.json"), 2, "did you mean"},
                         {train("twice.json"), 2, "train"},
                         {train("range.json"), 2, "train.lanes: got 0, wanted"},
                         {train("type.json"), 2, "optim.lr: got \"fast\""},
                         {train("layer.json"), 2, "did you mean 'conv2d'"},
                         {train("option.json"), 2, "unknown key 'out'"},
                         {train("shape.json"), 2, "layer 'big' (conv2d) does not fit"},
                         {train("classes.json"), 2, "the data has 10 classes"},
                         {train(tiny, {"--set", "optim.lrr=1"}), 2, "lrr"},
                         {train(tiny, {"--set", "nothing"}), 2, "--set"},
                         {train(tiny, {"--epoch", "3"}), 2, "did you mean \"--epochs\""},
                         {train(tiny, {"--epochs", "0"}), 2, "--epochs: got 0"},
                         {train(tiny, {"--epochs", "3..1"}), 2, "runs backwards"},
                         {train(tiny, {"--seeds", "1..2", "--seed", "1"}), 2, "wanted one of the two"},
                         {train(tiny, {"--threads", "-3"}), 2, "-3"},
                         {train(tiny, {"--device", "gpu"}), 2, "gpu"},
                         {train(tiny, {"--precision", "fp16"}), 2, "fp16"},
                         {train(tiny, {"--max-time", "soon"}), 2, "--max-time: got \"soon\""},
                         {train(tiny, {"--expect-acc", "1.01"}), 2, "--expect-acc"},
                         {train(tiny, {"--progress", "loud"}), 2, "--progress: got \"loud\""},
                         {train(tiny, {"--set", "optim.0.params=\"nothing*\""}), 2, "fits no parameter"},
                         {train(tiny, {"--set", "optim.1.params=\"bn*\""}), 2,
                          "no group's pattern fits the parameter 'fc.weight'"},
                         {{"trainer", "--resume", "nowhere"}, 2, "nowhere"},
                         {{"trainer", "data", "fetch", "cifar11"}, 2, "cifar11"},
                         {{"trainer", "data", "synth", "--dir", "x", "--train", "7"}, 2, "7"},
                         {{"trainer", "verify-resume"}, 2, "CONFIG"},
                         {{"evaluate"}, 2, "CHECKPOINT"},
                         {{"evaluate", "run", "--split", "half"}, 2, "--split: got \"half\""},
                         {{"evaluate", "run", "--compare"}, 2, "--compare"},
                     });
}

TEST_CASE("programs: missing and corrupt data is exit 3 with the file and the way out", "[programs]") {
  using namespace tern::data::testing;
  const Workbench bench;
  auto cifar = Workbench::config();
  cifar["data"] = {{"name", "cifar10"}, {"dir", "none"}};
  bench.write_config("missing.json", cifar);
  const Outcome missing = bench.train({"--out", "run"}, "missing.json");
  CHECK(missing.code == 3);
  for (const char* part : {"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                           "c32a1d4ab5d03f1284b67883e8d87530", "none/", "trainer data fetch cifar10 --dir none"})
    CHECK_THAT(missing.err, HasText(part));
  CHECK(!std::filesystem::exists(bench / "run"));  // nothing is left behind by a training that never began

  const auto format = tern::data::cifar_format("cifar10");
  for (const char* name : {"label", "cut", "gone"}) {
    write_cifar(format, bench / name, 20);
    cifar["data"]["dir"] = name;
    bench.write_config(std::string(name) + ".json", cifar);
  }
  const std::string folder(format.folder);
  std::string bytes = cifar_records(format, 0, 20);
  bytes[3073 * 5] = 100;
  write_bytes(bench / "label" / folder / "data_batch_2.bin", bytes);
  write_bytes(bench / "cut" / folder / "data_batch_3.bin", cifar_records(format, 0, 20).substr(0, 5000));
  std::filesystem::remove(bench / "gone" / folder / "test_batch.bin");
  auto trainer = [](const std::string& config) {
    return Args{"trainer", config, "--progress", "none", "--out", "run"};
  };
  check_cases(bench, {
                         {trainer("label.json"), 3, "data_batch_2.bin"},
                         {trainer("cut.json"), 3, "data_batch_3.bin"},
                         {trainer("gone.json"), 3, "test_batch.bin"},
                     });
}

TEST_CASE("programs: damaged, foreign and newer checkpoints are exit 3, another recipe is exit 2", "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run"}).code == 0);
  const auto last = bench / "run" / "checkpoints" / "last.safetensors";
  const std::string bytes = read_file(last);
  bench.write_config("lenet.json",
                     {{"model", {{"name", "lenet"}}}, {"data", {{"name", "synthetic"}, {"dir", "data"}}}});
  write_file(bench / "short.safetensors", "abc");
  write_file(bench / "cut.safetensors", bytes.substr(0, bytes.size() - 9));
  write_file(bench / "text.safetensors", "this is no file of tensors at all");
  write_file(bench / "flip.safetensors", bytes);
  flip_byte(bench / "flip.safetensors", tail_of(last, "conv1.weight"));
  rewrite_metadata(last, bench / "bare.safetensors", [](tern::Metadata& m) { m.clear(); });
  rewrite_metadata(last, bench / "newer.safetensors", [](tern::Metadata& m) { m["tern.format"] = "99"; });
  rewrite_metadata(last, bench / "strange.safetensors", [](tern::Metadata& m) { m["tern.format"] = "new"; });
  rewrite_metadata(last, bench / "norun.safetensors", [](tern::Metadata& m) { m.erase("tern.run"); });
  rewrite_metadata(last, bench / "badrun.safetensors", [](tern::Metadata& m) { m["tern.run"] = "{"; });
  rewrite_metadata(last, bench / "badplace.safetensors", [](tern::Metadata& m) { m["tern.position"] = "{}"; });
  check_cases(bench,
              {
                  {{"evaluate", "nowhere"}, 3, "no such checkpoint"},
                  {{"evaluate", "data"}, 3, "holds no best.safetensors"},
                  {{"evaluate", "short.safetensors"}, 3, "short.safetensors"},
                  {{"evaluate", "cut.safetensors"}, 3, "cut.safetensors"},
                  {{"evaluate", "text.safetensors"}, 3, "text.safetensors"},
                  {{"evaluate", "flip.safetensors", "--data", "data"}, 3, "checksum"},
                  {{"evaluate", "newer.safetensors"}, 3, "format 99 is newer than"},
                  {{"evaluate", "strange.safetensors"}, 3, "'new' is no number"},
                  {{"evaluate", "norun.safetensors"}, 3, "tern.run"},
                  {{"evaluate", "badrun.safetensors"}, 3, "damaged metadata"},
                  {{"evaluate", "badplace.safetensors"}, 3, "damaged metadata"},
                  {{"evaluate", "bare.safetensors"}, 2, "--model"},
                  {{"evaluate", "bare.safetensors", "--model", "letnet"}, 2, "letnet"},
                  {{"evaluate", "bare.safetensors", "--model", "lenet.json"}, 3, "the network wants f32[6, 3, 5, 5]"},
                  {{"evaluate", "run", "--data", "nowhere"}, 3, "nowhere"},
                  {{"trainer", "tiny.json", "--out", "run"}, 2, "holds a run already"},
              });

  const Outcome other = bench.train({"--resume", "run", "--set", "train.lanes=2", "--seed", "8"});
  CHECK(other.code == 2);
  for (const char* part : {"another run", "train.lanes: 4 there, 2 here", "run.seed: 7 there, 8 here"})
    CHECK_THAT(other.err, HasText(part));

  // A newer tern's run is refused, not trained over.
  rewrite_metadata(bench / "run/checkpoints/step-0000000020.safetensors",
                   bench / "run/checkpoints/step-0000000021.safetensors",
                   [](tern::Metadata& m) { m["tern.format"] = "2"; });
  const Outcome newer = bench.train({"--resume", "run"});
  CHECK(newer.code == 3);
  CHECK_THAT(newer.err, HasText("checkpoint format 2 is newer than 1"));
}

TEST_CASE("trainer: a damaged newest checkpoint falls back loudly to the one before; only damaged ones are exit 3",
          "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "straight"}).code == 0);
  REQUIRE(bench.train({"--out", "run"}).code == 0);
  const auto folder = bench / "run" / "checkpoints";
  flip_byte(folder / "step-0000000020.safetensors", 100);
  const Outcome fallen = bench.train({"--resume", "run"});
  INFO(fallen.err);
  CHECK(fallen.code == 0);
  CHECK_THAT(fallen.err, HasText("warning: checkpoint passed over"));
  CHECK_THAT(fallen.err, HasText("resumed from"));
  CHECK_THAT(read_file(bench / "run" / "log.txt"), HasText("step-0000000020.safetensors"));
  CHECK(bench.last_digest("run") == bench.last_digest("straight"));

  for (const auto& entry : std::filesystem::directory_iterator(folder))
    write_file(entry.path(), "no checkpoint any more");
  const Outcome lost = bench.train({"--resume", "run"});
  CHECK(lost.code == 3);
  CHECK_THAT(lost.err, HasText("every checkpoint is damaged"));
}

TEST_CASE("trainer: runtime failures are exit 1, an absent device 4, a missed expectation 6", "[programs]") {
  const Workbench bench;
  write_file(bench / "file", "in the way");
  check_cases(bench, {{{"trainer", "tiny.json", "--progress", "none", "--out", "file/run"}, 1, "cannot be made"},
                      {{"trainer", "tiny.json", "--progress", "none", "--device", "cuda:9"}, 4, "cuda:9"}});
  const Outcome missed = bench.train({"--out", "missed", "--expect-acc", "0.99"});
  CHECK(missed.code == 6);
  CHECK_THAT(missed.err, HasText("is below --expect-acc 0.99"));
  CHECK(std::filesystem::exists(bench / "missed" / "summary.json"));
  CHECK(bench.train({"--out", "reached", "--expect-acc", "0.01"}).code == 0);
}

TEST_CASE("trainer: a full disk does not stop the training and keeps the old checkpoint", "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "straight"}).code == 0);
  Process process({"trainer", "tiny.json", "--out", "run"}, bench.path());
  while (process.running() && !std::filesystem::exists(bench / "run/checkpoints/last.safetensors")) {
  }
  process.send(SIGKILL);
  process.wait();
  const std::string before = bench.last_digest("run");
  // Files of 16 blocks of 512 bytes: logs fit, checkpoints do not.
  const std::string command = "trap '' XFSZ; ulimit -f 16; exec " TERN_BINARY_DIR "/trainer tiny.json --resume run";
  const Outcome full = bench.run({"/bin/sh", "-c", command});
  INFO(full.err);
  if (before == bench.last_digest("straight")) return;  // it had ended before the kill
  CHECK(full.code == 1);
  CHECK_THAT(full.err, HasText("warning: checkpoint not saved, training goes on"));
  CHECK_THAT(full.err, HasText("epoch   2/2"));
  CHECK_THAT(full.err, HasText("the last checkpoint could not be saved"));
  CHECK(bench.last_digest("run") == before);
  CHECK(bench.train({"--resume", "run"}).code == 0);
  CHECK(bench.last_digest("run") == bench.last_digest("straight"));
}

TEST_CASE("trainer: a diverging run is exit 5, names epoch, step and tensor, and keeps the last good checkpoint",
          "[programs]") {
  const Workbench bench;
  auto config = Workbench::config();
  config["optim"][0]["lr"] = 1e30;
  config["train"]["clip_norm"] = nullptr;
  config["checkpoint"]["every_steps"] = 1;
  bench.write_config("wild.json", config);
  const Outcome stop = bench.train({"--out", "stop"}, "wild.json");
  INFO(stop.err);
  CHECK(stop.code == 5);
  CHECK_THAT(stop.err, HasText("epoch 1, step "));
  CHECK_THAT(stop.err, HasText(" is not finite"));
  CHECK_THAT(read_file(bench / "stop" / "log.txt"), HasText("diverged: epoch 1, step "));
  const auto good = tern::SafetensorsFile::open(bench / "stop/checkpoints/last.safetensors");
  for (const tern::TensorEntry& entry : good.entries()) {
    if (entry.spec.dtype != tern::DType::f32 || entry.name.starts_with("optimizer.")) continue;
    const auto bytes = good.bytes(entry);
    for (size_t i = 0; i < bytes.size(); i += 4) {
      float value;
      std::memcpy(&value, bytes.data() + i, 4);
      REQUIRE(std::isfinite(value));
    }
  }

  const Outcome skip = bench.train(
      {"--out", "skip", "--set", "train.nonfinite=skip:2", "--set", "checkpoint.every_steps=null"}, "wild.json");
  INFO(skip.err);
  CHECK(skip.code == 5);
  CHECK_THAT(skip.err, HasText("step skipped"));
  CHECK_THAT(skip.err, HasText("after 2 skipped steps in a row"));
  CHECK_THAT(read_file(bench / "skip" / "steps.jsonl"), HasText("\"skipped\":true"));
}
