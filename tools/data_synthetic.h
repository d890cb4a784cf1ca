#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "tools/data_cifar.h"

/// Procedural pictures for demos and tests: five shapes, solid or striped, at random places, sizes, angles and colours
/// on a noisy background. Colour and place say nothing about the class, so a linear model cannot learn it.
namespace tern::data {

inline constexpr int kSyntheticClasses = 10;

/// "disc", "striped disc", "square" ...
std::string_view synthetic_class(int label);

struct SyntheticOptions {
  int64_t train = 10000;  ///< pictures, a multiple of 5: they fill five files
  int64_t test = 2000;
  uint64_t seed = 1;
};

/// Draws picture `index` of a split, whose class is index % 10: 32x32, three planes (red, green, blue) as in a CIFAR
/// record, 3072 bytes. The same bytes on every machine: only exactly rounded operations are used.
void draw_synthetic(uint64_t seed, Split split, int64_t index, std::span<uint8_t> planar);

/// Writes the data set to DIR/synthetic in CIFAR-10's files and format, with the file SYNTHETIC that marks it, and
/// returns that folder. Files of an older synthetic set are replaced; a folder with other pictures is refused.
/// Throws ConfigError for counts out of range, DataError for a folder that holds other data, Error when writing fails.
std::filesystem::path write_synthetic(const std::filesystem::path& dir, const SyntheticOptions& options = {});

}  // namespace tern::data
