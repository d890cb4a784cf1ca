#pragma once
#include <span>
#include <string>
#include <vector>

#include "tools/config.h"

namespace tern {

/// One thing that was looked at.
struct Finding {
  enum class Level { ok, warn, fail };
  Level level = Level::ok;
  std::string what;   ///< "data"
  std::string found;  ///< "cifar10 in data: 50,000 training and 10,000 test pictures"
  std::string advice = {};  ///< what to do about it; empty where nothing is
};

/// Looks at this machine, this build and the data that `data` names: CPU, limits, memory, GPU, modules, pictures, disk, clock,
/// locale. Never throws: what cannot be found out is a finding.
std::vector<Finding> examine(const DataConfig& data);

Finding::Level worst(std::span<const Finding> findings);
/// A line each, advice under it; an array of objects.
std::string findings_text(std::span<const Finding> findings);
std::string findings_json(std::span<const Finding> findings);

/// The CPUs' time that a control group grants, in CPUs, from the text of cgroup v2's cpu.max ("150000 100000"); 0: no limit.
double cpus_of_quota(const std::string& cpu_max);

}  // namespace tern
