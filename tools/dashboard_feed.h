#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

namespace tern {

/// What one page of the dashboard has not seen yet of a run folder that is being written.
class RunFeed {
 public:
  explicit RunFeed(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// New rows of `metrics` and `timing`, and new `steps`, by columns; nullopt where nothing is new. The first time, when a resumed
  /// run has gone back, and after many steps it has everything, and says so by `reset`.
  std::optional<nlohmann::ordered_json> next();

 private:
  nlohmann::ordered_json everything();
  size_t new_steps(nlohmann::ordered_json& columns);

  std::filesystem::path folder_;
  bool started_ = false;
  uintmax_t metrics_bytes_ = 0, steps_bytes_ = 0;
  size_t epochs_ = 0, steps_since_reset_ = 0;
};

}  // namespace tern
