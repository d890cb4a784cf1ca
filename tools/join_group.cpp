#include "tools/join_group.h"

#include <nlohmann/json.hpp>

#include "core/cuda_devices.h"
#include "core/error.h"
#include "dist/group_module.h"
#include "dist/rendezvous.h"
#include "tools/data_digest.h"
#include "tools/environment.h"

namespace tern {
namespace {

/// The only GPU that the process sees (launchers can hide the others), else the one numbered like the rank on its machine.
int gpu_of(int local_rank) { return cuda_devices().devices.size() == 1 ? 0 : local_rank; }

/// Where two configs differ, the first few keys.
std::string differences(const std::string& a, const std::string& b) {
  const auto here = nlohmann::json::parse(a).flatten(), there = nlohmann::json::parse(b).flatten();
  std::string text;
  int left = 4;
  const auto value = [](const nlohmann::json& json, const std::string& key) { return json.contains(key) ? json[key].dump() : "absent"; };
  nlohmann::json keys = here;
  keys.update(there);
  for (const auto& [key, unused] : keys.items()) {
    if (value(here, key) == value(there, key)) continue;
    if (left-- == 0) return text + " ...";
    text += (text.empty() ? "" : ", ") + key + ": " + value(here, key) + " there, " + value(there, key) + " here";
  }
  return text;
}

std::string rank_text(int rank) { return "rank " + std::to_string(rank); }

}  // namespace

std::unique_ptr<dist::Group> join_group(DistEngine engine) {
  if (engine == DistEngine::local) return nullptr;
  const dist::Placement placement = dist::placement_of(dist::process_environment());
  if (engine == DistEngine::mpi) return dist::GroupModule("mpi").open({});
  const int gpu = gpu_of(placement.local_rank);
  cuda_device(gpu);
  const dist::GroupModule module("nccl");
  dist::GroupStart start{.rank = placement.rank, .size = placement.size, .local_rank = placement.local_rank, .device = gpu};
  if (placement.rank == 0) start.id = module.new_id();
  const std::vector<std::byte> id = dist::share_from_rank_0(placement, start.id);
  std::copy(id.begin(), id.end(), start.id.begin());
  return module.open(start);
}

void check_launcher(const Team& team) {
  dist::check_placement(dist::placement_of(dist::process_environment()), "the engine", team.rank(), team.size());
}

Device choose_device(const RunConfig& run) {
  const std::optional<Device> wanted = parse_device(run.device);
  if (wanted && wanted->kind == Device::Kind::cpu) return *wanted;
  if (!wanted) {
    for (const CudaDevice& device : cuda_devices().devices)
      if (device.problem.empty()) return {Device::Kind::cuda, device.index};
    return {};
  }
  cuda_device(wanted->index);  // throws where there is none, before data are read
  return *wanted;
}

Device choose_device(const RunConfig& run, const Team& team) {
  if (!team.group()) return choose_device(run);
  const bool on_gpu = team.group()->caps().device_memory;
  const bool named = run.device.starts_with("cuda:");
  const Device device = choose_device(run);
  if (on_gpu) {
    const int gpu = gpu_of(team.group()->local_rank());
    if (run.device == "cpu") throw ConfigError("run.device is cpu, but --dist nccl works on GPUs: wanted auto or cuda, or --dist mpi");
    if (named && device.index != gpu)
      throw ConfigError("run.device is " + run.device + ", but this rank's GPU is " + std::to_string(gpu) + ", by LOCAL_RANK: wanted cuda");
    return {Device::Kind::cuda, cuda_device(gpu).index};
  }
  if (device.kind == Device::Kind::cpu || named) return device;
  const auto count = static_cast<int>(cuda_devices().devices.size());
  return {Device::Kind::cuda, cuda_device(team.group()->local_rank() % count).index};
}

void check_configs_alike(Team& team, const Config& config) {
  Config alike = config;
  const Config defaults;
  alike.data.dir = defaults.data.dir;
  alike.data.loader_threads = defaults.data.loader_threads;
  alike.data.prefetch = defaults.data.prefetch;
  alike.data.resident = defaults.data.resident;
  alike.data.bad_files = defaults.data.bad_files;
  alike.data.cache_mb = defaults.data.cache_mb;
  alike.run.device = defaults.run.device;
  alike.run.threads = defaults.run.threads;
  alike.log = defaults.log;
  const std::vector<std::string> all = team.gather(config_json(alike));
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw ConfigError(rank_text(static_cast<int>(rank)) + " has another config than rank 0: " + differences(all[0], all[rank]));
}

void check_networks_alike(Team& team, const ParameterStore& store) {
  if (team.size() == 1) return;
  data::Sha256 digest;
  for (const Segment& segment : store.segments())
    digest.update(segment.name + " " + std::to_string(segment.begin) + " " + std::to_string(segment.numel) + "\n");
  const std::vector<float> weights = store.master.to_vector<float>();
  const auto bytes = std::as_bytes(std::span(weights));
  digest.update({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  if (const int rank = team.first_unlike(digest.hex()); rank > 0)
    throw ConfigError(rank_text(rank) + " has other parameters than rank 0: the same program, and the same file for --init-from, are wanted on all");
}

void check_pictures_alike(Team& team, const data::Dataset& pictures) {
  if (team.size() == 1) return;
  if (const int rank = team.first_unlike(data::digest(pictures)); rank > 0)
    throw DataError(rank_text(rank) + " has other training pictures than rank 0 (SHA-256 of pixels and labels): every rank reads its own copy of the same data");
}

void check_devices_alike(Team& team, Device device) {
  const std::vector<std::string> all = team.gather(device_class(device));
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw DeviceError(rank_text(static_cast<int>(rank)) + " computes on " + all[rank] + ", rank 0 on " + all[0] +
                        ": their bits differ; one training takes one kind of device");
}

void warn_of_other_builds(Team& team, Progress& progress) {
  const std::vector<std::string> all = team.gather(build_text());
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      progress.message("warning: " + rank_text(static_cast<int>(rank)) + " is tern " + all[rank] + ", rank 0 " + all[0] + ": their bits may differ");
}

}  // namespace tern
