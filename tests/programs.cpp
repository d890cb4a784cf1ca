#include "tests/programs.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "tests/catch.h"
#include "tools/data_digest.h"
#include "tools/data_synthetic.h"

namespace tern::test {
namespace {

std::vector<char*> pointers(Args& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

/// Everything below a directory, with the sizes of files.
std::map<std::string, uintmax_t> contents(const std::filesystem::path& directory) {
  std::map<std::string, uintmax_t> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    found[entry.path().string()] = entry.is_regular_file() ? entry.file_size() : 0;
  return found;
}

}  // namespace

Process::Process(const Args& command, const std::filesystem::path& directory, const Args& environment) {
  Args argv = command;
  if (argv[0].find('/') == std::string::npos) argv[0] = std::string(TERN_BINARY_DIR) + "/" + argv[0];
  Args env = environment;
  for (char** entry = environ; *entry; ++entry) env.emplace_back(*entry);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const auto out = output_ / "out", err = output_ / "err";
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
  const int error = posix_spawn(&pid_, argv[0].c_str(), &actions, nullptr, pointers(argv).data(), pointers(env).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), argv[0]);
}

Process::~Process() {
  if (ended_) return;
  send(SIGKILL);
  reap(0);
}

void Process::send(int signal) const { ::kill(pid_, signal); }

void Process::reap(int options) {
  pid_t found = 0;
  do found = ::waitpid(pid_, &status_, options);
  while (found < 0 && errno == EINTR);
  ended_ = ended_ || found == pid_;
}

std::string Process::err() const { return read_file(output_ / "err"); }

bool Process::running() {
  if (!ended_) reap(WNOHANG);
  return !ended_;
}

Outcome Process::wait() {
  if (!ended_) reap(0);
  Outcome outcome{.code = WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_), .out = {}, .err = {}};
  outcome.out = read_file(output_ / "out");
  outcome.err = read_file(output_ / "err");
  return outcome;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> csv_column(const std::filesystem::path& path, const std::string& name) {
  std::vector<std::string> values;
  std::ptrdiff_t column = -1;
  for (const std::string& line : lines_of(read_file(path))) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    if (column >= 0) {
      values.push_back(column < std::ssize(cells) ? cells[static_cast<size_t>(column)] : "");
      continue;
    }
    column = std::ranges::find(cells, name) - cells.begin();
    if (column == std::ssize(cells)) throw std::runtime_error(path.string() + " has no column " + name);
  }
  return values;
}

void flip_byte(const std::filesystem::path& path, int64_t offset_from_end) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-offset_from_end, std::ios::end);
  const int byte = file.get();
  file.seekp(-offset_from_end, std::ios::end);
  file.put(static_cast<char>(byte ^ 0x55));
}

Workbench::Workbench() {
  data::write_synthetic(dir_ / "data", {.train = 320, .test = 100});
  write_config("tiny.json", config());
}

nlohmann::json Workbench::config() {
  return nlohmann::json::parse(R"({
    "model": {"layers": [
      {"type": "conv2d", "name": "conv1", "out": 8, "kernel": 3, "stride": 2, "padding": 1},
      {"type": "batch_norm", "name": "bn1"}, {"type": "relu"},
      {"type": "conv2d", "name": "conv2", "out": 16, "kernel": 3, "stride": 2, "padding": 1},
      {"type": "batch_norm", "name": "bn2"}, {"type": "relu"},
      {"type": "global_avg_pool"}, {"type": "dropout", "p": 0.3}, {"type": "linear", "name": "fc", "out": 10}]},
    "data": {"name": "synthetic", "dir": "data", "limit": 310,
             "augment": [{"name": "crop", "pad": 4}, {"name": "flip"}, {"name": "cutout", "size": 8}]},
    "train": {"epochs": 2, "micro_batch": 8, "lanes": 4, "clip_norm": 1.0, "ema": 0.9, "label_smoothing": 0.1},
    "optim": [{"params": "conv*", "name": "adamw", "lr": 0.01, "no_decay": true},
              {"params": "*", "name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": true,
               "schedule": {"name": "constant"}}],
    "schedule": {"name": "constant"},
    "run": {"seed": 7, "threads": 2},
    "log": {"every_steps": 1},
    "checkpoint": {"every_steps": 3, "keep": 2}})");
}

void Workbench::write_config(const std::string& name, const nlohmann::json& config) const {
  write_file(dir_ / name, config.dump(2));
}

Outcome Workbench::run(const Args& command, const Args& environment) const {
  return Process(command, path(), environment).wait();
}

Outcome Workbench::train(const Args& args, const std::string& config) const {
  Args command{"trainer", config};
  command.insert(command.end(), args.begin(), args.end());
  return run(command);
}

std::string Workbench::last_digest(const std::string& run) const {
  return data::sha256_file(dir_ / run / "checkpoints" / "last.safetensors");
}

void check_cases(const Workbench& bench, const std::vector<Case>& cases, std::set<std::string>& messages) {
  for (const Case& c : cases) {
    if (c.prepare) c.prepare(bench);
    const auto before = contents(bench.path());
    const Outcome outcome = bench.run(c.command);
    std::string text;
    for (const std::string& part : c.command) text += part.substr(0, 80) + " ";
    INFO(text << "\n" << outcome.out << "\n" << outcome.err.substr(0, 4000));
    CHECK(outcome.code == c.code);
    CHECK_THAT(outcome.err, HasText(c.says));
    CHECK(outcome.err.starts_with(c.command[0] + ": "));
    CHECK(outcome.out.empty());
    CHECK(messages.insert(outcome.err).second);
    CHECK(contents(bench.path()) == before);
  }
}

}  // namespace tern::test
