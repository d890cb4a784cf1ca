#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "core/parameter_store.h"

namespace tern::nn {

/// How weights start. Biases: PyTorch's default draws them, the others set them to zero; norms start at 1 and 0.
enum class InitScheme {
  pytorch,          ///< U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weights and biases: torch.nn.Conv2d's and Linear's own
  kaiming_uniform,  ///< U(-b, b), b = sqrt(6 / fan_in)
  kaiming_normal,   ///< N(0, 2 / fan_in)
  xavier_uniform,   ///< U(-b, b), b = sqrt(6 / (fan_in + fan_out))
  xavier_normal,    ///< N(0, 2 / (fan_in + fan_out))
};

/// "pytorch", "kaiming_uniform" ... Throws ConfigError listing the names.
InitScheme init_scheme_from(const std::string& name);

/// Draws every weight and bias of `parameters`, keyed by (seed, the parameter's place, the element): the same values on
/// any machine and for any number of threads. Ref: Glorot, Bengio (2010); He, Zhang, Ren, Sun (2015).
void initialize(std::span<const Parameter> parameters, uint64_t seed, InitScheme scheme = InitScheme::pytorch);

}  // namespace tern::nn
