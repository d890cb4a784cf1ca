// `trainer --dist mpi`: any number of ranks ends in the bytes of one process, and what goes wrong ends all ranks.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/cuda_devices.h"
#include "tests/catch.h"
#include "tests/programs.h"
#include "tools/data_synthetic.h"

using namespace tern::test;
namespace fs = std::filesystem;

namespace {

/// Ranks are many on a small machine, and MPI's own memory is not ours to free.
const Args kEnvironment{"ASAN_OPTIONS=detect_leaks=0", "OMPI_MCA_btl_base_warn_component_unused=0"};

std::string mpirun() {
  const char* path = std::getenv("PATH");
  std::string folders = path ? path : "";
  for (size_t begin = 0; begin < folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    const fs::path file = fs::path(folders.substr(begin, end - begin)) / "mpirun";
    if (fs::exists(file)) return file.string();
    begin = end + 1;
  }
  return {};
}

/// Why these tests cannot run here, or "".
std::string no_mpi() {
  if (!fs::exists(fs::path(TERN_BINARY_DIR) / "libtern_mpi.so")) return "tern was built without MPI";
  if (mpirun().empty()) return "there is no mpirun";
  const Outcome version = Process({mpirun(), "--version"}, fs::temp_directory_path()).wait();
  return version.out.find("Open MPI") == std::string::npos ? "mpirun is not Open MPI's" : "";
}

/// mpirun with `ranks` times trainer tiny.json `args`.
Args on_ranks(int ranks, const Args& args) {
  Args command{mpirun(), "--allow-run-as-root", "--oversubscribe", "-n", std::to_string(ranks), std::string(TERN_BINARY_DIR) + "/trainer",
               "tiny.json", "--dist", "mpi", "--threads", "1"};
  command.insert(command.end(), args.begin(), args.end());
  return command;
}

/// The same with one more rank whose arguments are others.
Args and_one(Args command, const Args& args) {
  command.push_back(":");
  const Args more = on_ranks(1, args);
  command.insert(command.end(), more.begin() + 3, more.end());
  return command;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// The processes that mpirun started on this machine, by rank.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = read_file(entry.path() / "stat");  // pid (name) state parent ...
    const size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos || stat.find("(trainer)") == std::string::npos) continue;
    if (std::atoi(stat.c_str() + name_end + 4) == parent) children.push_back(std::atoi(stat.c_str()));
  }
  std::sort(children.begin(), children.end());
  return children;
}

}  // namespace

TEST_CASE("trainer --dist mpi: 1 to 4 ranks end in the bytes of one process", "[programs][dist]") {
  if (const std::string why = no_mpi(); !why.empty()) SKIP(why);
  const Workbench bench;
  REQUIRE(bench.train({"--out", "alone"}).code == 0);
  const std::string digest = bench.last_digest("alone");
  // Without mpirun: one rank.
  REQUIRE(bench.run({"trainer", "tiny.json", "--dist", "mpi", "--out", "single"}, kEnvironment).code == 0);
  CHECK(bench.last_digest("single") == digest);
  for (int ranks = 1; ranks <= 4; ++ranks) {
    const std::string out = "ranks" + std::to_string(ranks);
    const Outcome outcome = bench.run(on_ranks(ranks, {"--out", out}), kEnvironment);
    INFO(ranks << " ranks\n" << outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(bench.last_digest(out) == digest);
    CHECK(count(outcome.out, "test accuracy") == 1);
    for (const char* column : {"step", "train_loss", "train_acc", "test_loss", "test_acc", "lr"})
      CHECK(csv_column(bench / out / "metrics.csv", column) == csv_column(bench / "alone" / "metrics.csv", column));
  }
  const Outcome unfolded = bench.run(on_ranks(3, {"--out", "unfolded", "--no-fold", "--no-plan"}), kEnvironment);
  CHECK(unfolded.code == 0);
  CHECK(bench.last_digest("unfolded") == digest);
}

TEST_CASE("trainer --dist mpi: a signal to one rank stops all after the same step; another number of ranks goes on", "[programs][dist]") {
  if (const std::string why = no_mpi(); !why.empty()) SKIP(why);
  const Workbench bench;
  REQUIRE(bench.train({"--epochs", "20", "--out", "straight"}).code == 0);
  Process process(on_ranks(3, {"--epochs", "20", "--out", "run"}), bench.path(), kEnvironment);
  while (process.running() && lines_of(read_file(bench / "run" / "steps.jsonl")).size() < 25)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::vector<pid_t> ranks = children_of(process.pid());
  REQUIRE(ranks.size() == 3);
  ::kill(ranks[2], SIGTERM);
  const Outcome stopped = process.wait();
  INFO(stopped.err);
  REQUIRE(stopped.code == 143);
  CHECK(count(stopped.err, "stopped by signal 15 in epoch") == 1);
  CHECK(bench.last_digest("run") != bench.last_digest("straight"));

  const Outcome resumed = bench.run(on_ranks(2, {"--epochs", "20", "--out", "run", "--resume", "run"}), kEnvironment);
  INFO(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK_THAT(resumed.err, HasText("resumed from"));
  CHECK(bench.last_digest("run") == bench.last_digest("straight"));
}

TEST_CASE("trainer --dist mpi: the run folder alone is enough to go on, and one process can", "[programs][dist]") {
  if (const std::string why = no_mpi(); !why.empty()) SKIP(why);
  const Workbench bench;
  REQUIRE(bench.train({"--out", "straight"}).code == 0);
  REQUIRE(bench.train({"--out", "run", "--max-time", "0.0001s"}).code == 0);
  CHECK(bench.last_digest("run") != bench.last_digest("straight"));
  fs::copy(bench / "run", bench / "other", fs::copy_options::recursive);
  Args command = on_ranks(2, {"--resume", "run"});
  std::erase(command, "tiny.json");
  const Outcome ranks = bench.run(command, kEnvironment);
  INFO(ranks.err);
  CHECK(ranks.code == 0);
  CHECK(bench.last_digest("run") == bench.last_digest("straight"));
  CHECK(bench.train({"--resume", "other", "--out", "other"}).code == 0);
  CHECK(bench.last_digest("other") == bench.last_digest("straight"));
}

TEST_CASE("trainer --dist mpi: what is wrong on one rank ends all with its exit code and one message", "[programs][dist]") {
  if (const std::string why = no_mpi(); !why.empty()) SKIP(why);
  const Workbench bench;
  tern::data::write_synthetic(bench / "other", {.train = 320, .test = 100, .seed = 2});
  struct Fault {
    Args command;
    int code;
    std::string says;
  };
  const std::vector<Fault> faults = {
      {and_one(on_ranks(2, {"--out", "x"}), {"--set", "data.dir=other"}), 3, "rank 2 has other training pictures than rank 0"},
      {and_one(on_ranks(1, {"--out", "x"}), {"--seed", "9"}), 2, "rank 1 has another config than rank 0: /run/seed: 7 there, 9 here"},
      {and_one(on_ranks(1, {"--out", "x"}), {"--set", "data.name=cifar10"}), 2, "/data/name"},
      {and_one(on_ranks(1, {"--out", "x"}), {"--init-from", "nothing.safetensors"}), 3, "nothing.safetensors"},
      {on_ranks(3, {"--out", "x", "--set", "data.name=cifar10", "--set", "data.dir=nowhere"}), 3, "no data in nowhere"},
      {on_ranks(5, {"--out", "x"}), 2, "train.lanes is 4, but there are 5 ranks"},
      {on_ranks(3, {"--out", "bad", "--set", "optim.0.lr=1e30", "--set", "train.clip_norm=null"}), 5, "is not finite"},
      {on_ranks(2, {"--out", "low", "--expect-acc", "1"}), 6, "is below --expect-acc"},
  };
  for (const Fault& fault : faults) {
    const Outcome outcome = bench.run(fault.command, kEnvironment);
    INFO(fault.says << "\n" << outcome.err);
    CHECK(outcome.code == fault.code);
    CHECK_THAT(outcome.err, HasText(fault.says));
    CHECK(count(outcome.err, "trainer: ") == 1);
  }
  CHECK_FALSE(fs::exists(bench / "x"));
}

TEST_CASE("trainer --dist: rank variables that contradict each other, series, engines that are not there", "[programs][dist]") {
  const Workbench bench;
  const Args command{"trainer", "tiny.json", "--out", "x", "--dist", "mpi"};
  const Outcome two = bench.run(command, {"RANK=1", "WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=2"});
  CHECK(two.code == 2);
  CHECK_THAT(two.err, HasText("RANK is 1, but OMPI_COMM_WORLD_RANK is 0"));
  CHECK(bench.train({"--dist", "mpi", "--seeds", "1..3", "--out", "x"}).code == 2);
  CHECK(bench.train({"--dist", "smoke-signals", "--out", "x"}).code == 2);
  if (no_mpi().empty()) {
    Args environment = kEnvironment;
    environment.insert(environment.end(), {"RANK=1", "WORLD_SIZE=2"});
    const Outcome engine = bench.run(command, environment);
    CHECK(engine.code == 2);
    CHECK_THAT(engine.err, HasText("RANK says rank 1 of 2, but the engine says rank 0 of 1"));
  }
  if (tern::cuda_devices().devices.empty()) {
    const Outcome nccl = bench.train({"--dist", "nccl", "--out", "x"});
    CHECK(nccl.code == 4);
    CHECK_THAT(nccl.err, HasText("trainer: cuda:0: "));
  }
  CHECK_FALSE(fs::exists(bench / "x"));
}
