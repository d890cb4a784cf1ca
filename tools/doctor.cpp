#include "tools/doctor.h"

#include <dlfcn.h>
#include <locale.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/cuda_devices.h"
#include "core/error.h"
#include "core/thread_pool.h"
#include "core/version.h"
#include "dist/group_module.h"
#include "tools/data_cifar.h"
#include "tools/data_folder.h"
#include "tools/environment.h"
#include "tools/format.h"
#include "tools/json_text.h"
#include "tools/summary.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;
constexpr double kMiB = 1 << 20, kGiB = 1 << 30;

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A file of this process's control group (v2), or of the root's, as containers see theirs; "" where there is none.
std::string cgroup_file(const std::string& name) {
  const std::string own = read_text("/proc/self/cgroup");  // "0::/user.slice"
  const size_t at = own.find("0::");
  const std::string group = at == std::string::npos ? "" : own.substr(at + 3, own.find('\n', at) - at - 3);
  const std::string text = read_text("/sys/fs/cgroup" + group + "/" + name);
  return text.empty() ? read_text("/sys/fs/cgroup/" + name) : text;
}

/// Bytes of a line of /proc/meminfo, or 0.
double memory_line(std::string_view key) {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with(key)) return std::atof(line.c_str() + key.size()) * 1024;
  return 0;
}

std::string number(double value) { return format("%.3g", value); }

/// The version that a function of a library tells, 0 where the library is not there.
template <class Function>
int library_version(const char* library, const char* function, const Function& call) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);  // stays: GPU libraries do not bear to be unloaded
  void* found = handle ? dlsym(handle, function) : nullptr;
  return found ? call(found) : 0;
}

Finding look_at_build() {
  return {Level::ok, "tern", std::string(version()) + " (" + std::string(git_revision()) + ")"};
}

Finding look_at_cpu() {
  const std::string path = simd_path();
  Finding finding{Level::ok, "cpu", std::to_string(available_cpus()) + " CPUs, kernels for " + path};
#if defined(__x86_64__)
  if (path != "avx2" && path != "avx512") {
    finding.level = Level::fail;
    finding.advice = "tern wants AVX2 on x86 (x86-64-v3): another machine, or a virtual machine that passes the host's CPU through";
  }
#endif
  return finding;
}

Finding look_at_quota() {
  const double quota = cpus_of_quota(cgroup_file("cpu.max"));
  const int cpus = available_cpus();
  if (quota == 0) return {Level::ok, "cpu limit", "none by a control group"};
  Finding finding{Level::ok, "cpu limit", "the control group grants the time of " + number(quota) + " of " + std::to_string(cpus) + " CPUs"};
  if (quota < cpus) {
    finding.level = Level::warn;
    finding.advice = "more threads than that are stopped in the middle of a step: --threads " + std::to_string(std::max(1, static_cast<int>(quota)));
  }
  return finding;
}

Finding look_at_memory() {
  double available = memory_line("MemAvailable:");
  std::string found = bytes_text(available) + " free of " + bytes_text(memory_line("MemTotal:"));
  const std::string limit = cgroup_file("memory.max");
  if (!limit.empty() && !limit.starts_with("max")) {
    const double left = std::atof(limit.c_str()) - std::atof(cgroup_file("memory.current").c_str());
    found += ", the control group leaves " + bytes_text(left);
    available = std::min(available, left);
  }
  if (available >= 2 * kGiB) return {Level::ok, "memory", found};
  return {available < 0.3 * kGiB ? Level::fail : Level::warn, "memory", found,
          "trainer summary CONFIG says what a training takes; a smaller train.micro_batch or fewer train.lanes take less"};
}

std::vector<Finding> look_at_gpus() {
  const CudaDevices cuda = cuda_devices();
  const int driver = library_version("libcuda.so.1", "cuDriverGetVersion", [](void* f) {
    int version = 0;
    return reinterpret_cast<int (*)(int*)>(f)(&version) == 0 ? version : 0;
  });
  const std::string driver_text =
      driver == 0 ? "no NVIDIA driver" : "driver for CUDA " + std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
  if (cuda.devices.empty()) {
    Finding finding{Level::ok, "gpu", cuda.reason + "; " + driver_text + "; everything runs on the CPU"};
#if TERN_CUDA
    const bool wasted = true;
#else
    const bool wasted = driver != 0;
#endif
    if (wasted) {
      finding.level = Level::warn;
      finding.advice = driver != 0 ? "to use the GPU: ./run build cuda (nvcc is required)" : "install NVIDIA's driver, or use a build without CUDA";
    }
    return {finding};
  }
  std::vector<Finding> findings;
  for (const CudaDevice& device : cuda.devices) {
    const std::string name = "cuda:" + std::to_string(device.index) + " " + device.name + ", compute capability " + std::to_string(device.major) +
                             "." + std::to_string(device.minor) + ", " + bytes_text(static_cast<double>(device.memory)) + ", " + driver_text;
    if (device.problem.empty()) findings.push_back({Level::ok, "gpu", name});
    else findings.push_back({Level::fail, "gpu", name + ": " + device.problem, "build for this GPU: -DCMAKE_CUDA_ARCHITECTURES=native; or --device cpu"});
  }
  const int cudnn = library_version("libcudnn.so.9", "cudnnGetVersion",
                                    [](void* f) { return static_cast<int>(reinterpret_cast<size_t (*)()>(f)()); });
  if (cudnn > 0)
    findings.push_back({Level::ok, "cudnn", std::to_string(cudnn / 10000) + "." + std::to_string(cudnn / 100 % 100) + "." + std::to_string(cudnn % 100)});
  else
    findings.push_back({Level::warn, "cudnn", "libcudnn.so.9 is not there: tern's own convolutions are slower", "install cuDNN 9 and build again"});
  return findings;
}

Finding look_at_module(const std::string& engine) {
  try {
    const dist::GroupModule module(engine);
    return {Level::ok, engine, "trainer --dist " + engine + " can start"};
  } catch (const std::exception&) {
    return {Level::ok, engine, "not there; only trainer --dist " + engine + " needs it"};
  }
}

/// People's own pictures are counted, not decoded.
Finding look_at_folder(const DataConfig& config) {
  try {
    const data::FolderParts parts = data::list_folder(config, 0);
    return {Level::ok, "data", config.dir + ": " + std::to_string(parts.train.classes.size()) + " classes, " + std::to_string(parts.train.pictures.size()) +
                                   " training and " + std::to_string(parts.test.pictures.size()) + " test pictures"};
  } catch (const std::exception& error) {
    return {Level::fail, "data", error.what(), "docs/pictures.md says how the folder should look"};
  }
}

Finding look_at_data(const DataConfig& config) {
  if (config.name == DataName::folder) return look_at_folder(config);
  const std::string name(name_of(config.name)), where = name + " in " + config.dir;
  try {
    const data::DatasetPtr train = data::open_dataset(name, config.dir, data::Split::kTrain), test = data::open_dataset(name, config.dir, data::Split::kTest);
    return {Level::ok, "data", where + ": " + std::to_string(train->size()) + " training and " + std::to_string(test->size()) + " test pictures, whole"};
  } catch (const data::DataMissing&) {
    if (config.name == DataName::synthetic) return {Level::ok, "data", where + ": not there; made when a training begins"};
    return {Level::fail, "data", where + ": not there", "trainer data fetch " + name + " --dir " + config.dir + "; README.md tells the offline ways"};
  } catch (const std::exception& error) {
    return {Level::fail, "data", where + ": " + error.what(), "remove the damaged file and: trainer data fetch " + name + " --dir " + config.dir};
  }
}

Finding look_at_disk() {
  const fs::path place = fs::is_directory("runs") ? "runs" : ".";
  std::error_code error;
  const fs::space_info space = fs::space(place, error);
  const std::string where = fs::absolute(place).lexically_normal().string();
  if (error) return {Level::warn, "disk", where + ": " + error.message(), "runs are written there; --out DIR takes another place"};
  const auto available = static_cast<double>(space.available);
  Finding finding{Level::ok, "disk", bytes_text(available) + " free for runs in " + where};
  const bool writable = ::access(place.c_str(), W_OK | X_OK) == 0;
  if (!writable) finding.found = where + " cannot be written";
  if (!writable || available < 100 * kMiB) finding.level = Level::fail;
  else if (available < kGiB) finding.level = Level::warn;
  if (finding.level != Level::ok) finding.advice = "--out DIR writes a run elsewhere; checkpoint.keep says how many checkpoints stay";
  return finding;
}

Finding look_at_clock() {
  constexpr std::time_t kNoEarlier = 1735689600;  // 2025-01-01: no tern was built before
  const std::string now = utc_stamp();
  if (std::time(nullptr) >= kNoEarlier) return {Level::ok, "clock", now};
  return {Level::warn, "clock", now + " is long past", "set the clock: run folders are named by it, and TLS refuses certificates"};
}

Finding look_at_locale() {
  const char* names[] = {std::getenv("LC_ALL"), std::getenv("LC_CTYPE"), std::getenv("LANG")};
  const auto set = std::ranges::find_if(names, [](const char* name) { return name && *name; });
  const std::string name = set == std::end(names) ? "C" : *set;
  const locale_t locale = newlocale(LC_ALL_MASK, "", nullptr);
  if (!locale) return {Level::warn, "locale", name + " is not installed", "harmless to tern, which writes numbers the same in any: export LC_ALL=C.UTF-8"};
  freelocale(locale);
  return {Level::ok, "locale", name};
}

const char* level_name(Level level) {
  switch (level) {
    case Level::ok: return "ok";
    case Level::warn: return "warn";
    case Level::fail: break;
  }
  return "FAIL";
}

}  // namespace

double cpus_of_quota(const std::string& cpu_max) {
  std::istringstream text(cpu_max);
  double quota = 0, period = 0;
  if (!(text >> quota >> period) || period <= 0) return 0;  // "max 100000"
  return quota / period;
}

std::vector<Finding> examine(const DataConfig& data) {
  std::vector<Finding> findings{look_at_build(), look_at_cpu(), look_at_quota(), look_at_memory()};
  for (Finding& finding : look_at_gpus()) findings.push_back(std::move(finding));
  for (const char* engine : {"mpi", "nccl"}) findings.push_back(look_at_module(engine));
  for (const auto& finding : {look_at_data(data), look_at_disk(), look_at_clock(), look_at_locale()}) findings.push_back(finding);
  return findings;
}

Finding::Level worst(std::span<const Finding> findings) {
  Level level = Level::ok;
  for (const Finding& finding : findings) level = std::max(level, finding.level);
  return level;
}

std::string findings_text(std::span<const Finding> findings) {
  std::string text;
  for (const Finding& f : findings) {
    text += format("%-5s %-10s ", level_name(f.level), f.what.c_str()) + f.found + "\n";
    if (!f.advice.empty()) text += std::string(17, ' ') + f.advice + "\n";
  }
  return text;
}

std::string findings_json(std::span<const Finding> findings) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Finding& f : findings)
    list.push_back({{"what", f.what}, {"level", f.level == Level::fail ? "fail" : level_name(f.level)}, {"found", f.found}, {"advice", f.advice}});
  return json_text(list, 2) + "\n";
}

}  // namespace tern
