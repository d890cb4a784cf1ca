#pragma once
#include <memory>

#include "core/parameter_store.h"
#include "dist/group.h"
#include "tools/cli.h"
#include "tools/config.h"
#include "tools/data_set.h"
#include "tools/progress.h"
#include "tools/team.h"

namespace tern {

/// Loads the engine and becomes one of its ranks; null for local. Throws ConfigError where the launcher's variables
/// contradict each other, DeviceError where the engine or its GPU is not there.
std::unique_ptr<dist::Group> join_group(DistEngine engine);
/// Throws ConfigError where the launcher's variables say another rank than the engine.
void check_launcher(const Team& team);

/// The device of `run` ("auto": the first usable GPU, else the CPU). Throws DeviceError saying why a device that was
/// asked for is not there.
Device choose_device(const RunConfig& run);
/// The same for a rank: "auto" and "cuda" are then the GPU that LOCAL_RANK chooses. Throws ConfigError where the engine
/// works on GPUs and `run` says otherwise.
Device choose_device(const RunConfig& run, const Team& team);

/// Throws where ranks differ in what must be alike, naming the rank and the difference: ConfigError for the config
/// besides places, threads and logs, or the network's parameters; DataError for the training pictures; DeviceError for the kind of device.
void check_configs_alike(Team& team, const Config& config);
void check_networks_alike(Team& team, const ParameterStore& store);
void check_pictures_alike(Team& team, const data::Dataset& pictures);
void check_devices_alike(Team& team, Device device);
/// Says so where ranks run other builds of tern than rank 0.
void warn_of_other_builds(Team& team, Progress& progress);

}  // namespace tern
