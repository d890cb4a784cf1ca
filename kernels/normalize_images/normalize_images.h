#pragma once
#include <vector>

#include "core/tensor.h"

namespace tern {

struct NormalizeImages {
  std::vector<double> mean;  ///< one a channel, of pixels scaled to [0, 1]
  std::vector<double> std;   ///< one a channel, above 0
  DType dtype = DType::f32;  ///< of the result
};

/// y = (x / 255 - mean[c]) / std[c], rounded to f32 after each step as PyTorch's ToTensor and Normalize do, then to the
/// result's dtype.   x u8 [N,H,W,C] -> y [N,H,W,C]. Not differentiable.
/// Throws ConfigError when mean or std has another length than C, or a std is not above 0.
Tensor normalize_images(const Tensor& x, const NormalizeImages& options);

}  // namespace tern
