#pragma once
#include "tests/programs.h"

/// What the programs are given wrong, kind by kind. Cases of a kind write their input under the same name, so that
/// messages do not differ by a file's name alone.
namespace tern::test {

std::vector<Case> malformed_configs();    ///< text, keys, types, ranges, values that do not go together
std::vector<Case> malformed_layers();     ///< networks written in JSON
std::vector<Case> malformed_arguments();  ///< of trainer, its commands, and evaluate
std::vector<Case> malformed_data();       ///< files of CIFAR-10, CIFAR-100 and synthetic pictures
std::vector<Case> malformed_weights();    ///< safetensors as such
/// Sound safetensors that fit no network or run. `good` is a checkpoint of Workbench::config().
std::vector<Case> malformed_checkpoints(const std::filesystem::path& good);

}  // namespace tern::test
