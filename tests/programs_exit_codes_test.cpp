// Exit codes and messages of the programs, from what people get wrong and what goes wrong.
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <set>

#include "nn/safetensors.h"
#include "tests/catch.h"
#include "tests/data_http_server.h"
#include "tests/programs.h"

using namespace tern::test;

namespace {

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

}  // namespace

TEST_CASE("trainer: missing data is exit 3 with every way to get it", "[programs]") {
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
}

TEST_CASE("trainer: --resume with another recipe is exit 2, onto a newer or impossible checkpoint exit 3",
          "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run"}).code == 0);
  const auto last = bench / "run" / "checkpoints" / "last.safetensors";
  const Outcome other = bench.train({"--resume", "run", "--set", "train.lanes=2", "--seed", "8"});
  CHECK(other.code == 2);
  for (const char* part : {"another run", "train.lanes: 4 there, 2 here", "run.seed: 7 there, 8 here"})
    CHECK_THAT(other.err, HasText(part));

  rewrite_metadata(last, bench / "run/checkpoints/step-0000000021.safetensors", [](tern::Metadata& m) {
    auto position = nlohmann::json::parse(m["tern.position"]);
    position["step_in_epoch"] = 11;
    m["tern.position"] = position.dump();
  });
  const Outcome impossible = bench.train({"--resume", "run"});
  CHECK(impossible.code == 3);
  CHECK_THAT(impossible.err, HasText("step-0000000021.safetensors: stands at step 11 of an epoch, the data give 10"));

  // A newer tern's run is refused, not trained over.
  rewrite_metadata(last, bench / "run/checkpoints/step-0000000021.safetensors",
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
  std::set<std::string> messages;
  check_cases(bench, {{{"trainer", "tiny.json", "--progress", "none", "--out", "file/run"}, 1, "cannot be made"},
                      {{"trainer", "tiny.json", "--progress", "none", "--device", "cuda:9"}, 4, "cuda:9"}},
              messages);
  const Outcome missed = bench.train({"--out", "missed", "--expect-acc", "0.99"});
  CHECK(missed.code == 6);
  CHECK_THAT(missed.err, HasText("is below --expect-acc 0.99"));
  CHECK(std::filesystem::exists(bench / "missed" / "summary.json"));
  CHECK(bench.train({"--out", "reached", "--expect-acc", "0.01"}).code == 0);
}

TEST_CASE("trainer data fetch: SIGTERM and SIGINT are exit 143 and 130, and what has come is kept", "[programs]") {
  const Workbench bench;
  const tern::data::testing::HttpServer server({.body = std::string(5000, 'x'), .hang_up_after = 500, .stall = true});
  for (const auto& [signal, code] : {std::pair{SIGTERM, 143}, {SIGINT, 130}}) {
    const std::string dir = "cifar" + std::to_string(code);
    const auto part = bench / dir / "cifar-10-binary.tar.gz.part";
    Process process({"trainer", "data", "fetch", "cifar10", "--dir", dir, "--url", server.url("/x")}, bench.path());
    std::error_code absent;
    while (process.running() && std::filesystem::file_size(part, absent) != 500) ::usleep(1000);
    process.send(signal);
    const Outcome outcome = process.wait();
    INFO(outcome.err);
    CHECK(outcome.code == code);
    CHECK_THAT(outcome.err, HasText("stopped; 500 bytes are kept in " + dir));
    CHECK(std::filesystem::file_size(part) == 500);
  }
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

TEST_CASE("trainer keygen: a token for its owner alone, never over another file", "[programs]") {
  const TempDir dir;
  const auto keygen = [&](const Args& args) {
    Args command{"trainer", "keygen"};
    command.insert(command.end(), args.begin(), args.end());
    return Process(command, dir.path()).wait();
  };
  const Outcome made = keygen({"job.token"});
  INFO(made.err);
  CHECK(made.code == 0);
  CHECK_THAT(made.out, HasText("--token-file job.token"));
  CHECK(std::filesystem::status(dir / "job.token").permissions() == std::filesystem::perms(0600));
  const std::string token = read_file(dir / "job.token");
  CHECK(token.size() == 65);
  CHECK(made.out.find(token.substr(0, 64)) == std::string::npos);  // the terminal is no place for secrets

  const Outcome again = keygen({"job.token"});
  CHECK(again.code == 1);
  CHECK_THAT(again.err, HasText("job.token: exists"));
  CHECK(read_file(dir / "job.token") == token);
  CHECK(keygen({"none/job.token"}).code == 1);
  CHECK(keygen({}).code == 2);
}
