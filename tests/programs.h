#pragma once
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/temp_dir.h"

/// Starts the built programs, as people do, on pictures and a network so small that a training takes a moment.
namespace tern::test {

using Args = std::vector<std::string>;

/// How a program ended.
struct Outcome {
  int code = 0;  ///< exit code, or -signal when a signal ended it
  std::string out, err;
};

/// A program of the build folder, running.
class Process {
 public:
  /// `command[0]` is a program's name ("trainer") or, with a slash, a path. `environment` holds NAME=VALUE.
  Process(const Args& command, const std::filesystem::path& directory, const Args& environment = {});
  ~Process();  ///< kills it if it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void send(int signal) const;
  bool running();
  std::string err() const;  ///< so far
  Outcome wait();

 private:
  void reap(int options);

  TempDir output_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& text);
/// Lines, without the empty one behind the last newline.
std::vector<std::string> lines_of(const std::string& text);
/// The value of column `name` in every row of a CSV file without quotes.
std::vector<std::string> csv_column(const std::filesystem::path& path, const std::string& name);
/// Changes one byte in place.
void flip_byte(const std::filesystem::path& path, int64_t offset_from_end);

/// A directory with synthetic pictures (310 used for training: ten steps an epoch, the last one of 8 + 8 + 6; 100 for
/// testing) and tiny.json.
class Workbench {
 public:
  Workbench();
  std::filesystem::path operator/(const std::string& name) const { return dir_ / name; }
  const std::filesystem::path& path() const { return dir_.path(); }

  /// Two convolutions with BatchNorm, dropout, augmentation, weight average, clipping, AdamW and SGD.
  static nlohmann::json config();
  void write_config(const std::string& name, const nlohmann::json& config) const;

  Outcome run(const Args& command, const Args& environment = {}) const;
  /// trainer tiny.json `args`
  Outcome train(const Args& args, const std::string& config = "tiny.json") const;
  /// SHA-256 of RUN/checkpoints/last.safetensors: weights, moments, average, statistics, position.
  std::string last_digest(const std::string& run) const;

 private:
  TempDir dir_;
};

/// A command that must fail, with its exit code and what its message must say. `prepare` makes its input.
struct Case {
  Args command;
  int code = 0;
  std::string says;
  std::function<void(const Workbench&)> prepare = {};
};

/// Runs every case: the message is one of its own, unlike all in `messages`, which it joins; it comes from the program
/// itself and stands alone; no file appears, goes or changes its size.
void check_cases(const Workbench& bench, const std::vector<Case>& cases, std::set<std::string>& messages);

}  // namespace tern::test
