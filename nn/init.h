#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/parameter_store.h"
#include "kernels/common/pair.h"

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

/// Makes the first filters of a convolution [out, R, S, in] pass their channel on, as many as there are channels or filters: filter i is 1
/// at the middle tap of channel i and 0 elsewhere. The others stay. Ref: Zagoruyko, Komodakis: DiracNets (2017).
void initialize_dirac(const Tensor& weight);

/// Divides a weight by its own standard deviation (of the sample: n - 1), so that it has one of 1.
void initialize_unit_std(const Tensor& weight);

/// Filters [2RSC, R, S, C] that whiten the patches of `pictures`, row-major: those of the patches' uncentred covariance's eigenvectors, each
/// divided by sqrt(eigenvalue + 5e-4), from the smallest eigenvalue to the largest, and then their negatives. What the first half makes of
/// the patches has, but for the 5e-4, a second moment of 1 each and of 0 between two. Computed in f64; an eigenvector's
/// largest element is positive. `pictures`: the values of a `shape` [N, H, W, C]. Throws ShapeError where the kernel does not fit.
/// Ref: Jordan: 94 % on CIFAR-10 in 3.29 seconds on a single GPU (2024), arXiv:2404.00498, section 3.1.
std::vector<float> whitening_filters(std::span<const float> pictures, const Shape& shape, Pair kernel);

}  // namespace tern::nn
