#include <algorithm>
#include <cmath>

#include "core/op.h"
#include "kernels/common/eigen_symmetric.h"
#include "nn/init.h"

namespace tern::nn {
namespace {

/// Mean of p p^T over all patches p of `pictures` [N, H, W, C], row-major [size, size].
std::vector<double> patch_covariance(std::span<const float> pictures, const Shape& shape, Pair kernel) {
  const int64_t row = kernel.w * shape[3], size = kernel.h * row;
  std::vector<double> sum(static_cast<size_t>(size * size)), patch(static_cast<size_t>(size));
  double patches = 0;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t y = 0; y + kernel.h <= shape[1]; ++y)
      for (int64_t x = 0; x + kernel.w <= shape[2]; ++x, ++patches) {
        const float* corner = pictures.data() + ((n * shape[1] + y) * shape[2] + x) * shape[3];
        for (int64_t r = 0; r < kernel.h; ++r) std::copy_n(corner + r * shape[2] * shape[3], row, patch.begin() + r * row);
        for (size_t i = 0; i < patch.size(); ++i)
          for (size_t j = 0; j < patch.size(); ++j) sum[i * patch.size() + j] += patch[i] * patch[j];
      }
  for (double& value : sum) value /= patches;
  return sum;
}

}  // namespace

std::vector<float> whitening_filters(std::span<const float> pictures, const Shape& shape, Pair kernel) {
  const bool fits = shape.rank() == 4 && static_cast<int64_t>(pictures.size()) == shape.numel() && kernel.h >= 1 && kernel.w >= 1 && shape[0] >= 1 &&
                    shape[1] >= kernel.h && shape[2] >= kernel.w;
  if (!fits) throw_shape("whitening", "pictures " + shape.str() + " have no patches of " + std::to_string(kernel.h) + "x" + std::to_string(kernel.w));
  constexpr double kEps = 5e-4;
  const SymmetricEigen eigen = eigen_symmetric(patch_covariance(pictures, shape, kernel), kernel.h * kernel.w * shape[3]);
  std::vector<float> filters;
  for (const double sign : {1.0, -1.0})
    for (size_t i = 0; i < eigen.values.size(); ++i)
      for (const double value : eigen.vectors[i]) filters.push_back(static_cast<float>(sign * value / std::sqrt(eigen.values[i] + kEps)));
  return filters;
}

}  // namespace tern::nn
