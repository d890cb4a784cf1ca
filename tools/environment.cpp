#include "tools/environment.h"

#include <sys/resource.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/cpu_path.h"
#include "core/cuda_devices.h"
#include "core/thread_pool.h"
#include "core/version.h"
#include "kernels/conv2d/conv_plans.h"
#include "tools/json_text.h"

namespace tern {
namespace {

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      if (const size_t colon = line.find(':'); colon != std::string::npos) return line.substr(colon + 2);
  return "unknown";
}

/// A size of this process as Linux tells it.
std::optional<int64_t> bytes_in_status(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::atoll(line.c_str() + key.size()) * 1024;
  return std::nullopt;
}

}  // namespace

std::string simd_path() { return cpu_path(); }

std::string device_class(Device device) {
  if (device.kind == Device::Kind::cpu) return "cpu " + simd_path();
  return cuda_device(device.index).name + ", cuDNN " + conv_library();
}

std::string build_text() {
  const std::string compiler = __VERSION__;  // some name a repository behind it
  return std::string(version()) + " (" + std::string(git_revision()).substr(0, 60) + ", compiler " + compiler.substr(0, compiler.find(" (")).substr(0, 40) + ")";
}

std::string environment_json(const Context& context, std::span<const char* const> argv) {
  utsname system{};
  uname(&system);
  const nlohmann::ordered_json env = {
      {"tern", version()},
      {"git_revision", git_revision()},
      {"time", utc_stamp()},
      {"argv", std::vector<std::string>(argv.begin(), argv.end())},
      {"device", context.device().str()},
      {"device_class", device_class(context.device())},
      {"cpu", cpu_name()},
      {"cpus", available_cpus()},
      {"threads", context.options().threads == 0 ? available_cpus() : context.options().threads},
      {"simd", simd_path()},
      {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
      {"compiler", __VERSION__},
  };
  return json_text(env, 2) + "\n";
}

void reset_peak_rss() { std::ofstream("/proc/self/clear_refs") << "5"; }

int64_t resident_bytes() { return bytes_in_status("VmRSS:").value_or(0); }

int64_t peak_rss() {
  if (const auto bytes = bytes_in_status("VmHWM:")) return *bytes;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::string utc_stamp(bool compact) {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, compact ? "%Y%m%d-%H%M%S" : "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace tern
