#include <Eigen/Eigenvalues>
#include <cmath>

#include "core/op.h"
#include "nn/init.h"

namespace tern::nn {
namespace {

/// Sum of p p^T over all patches p of `pictures`, divided by their number.
Eigen::MatrixXd patch_covariance(std::span<const float> pictures, const Shape& shape, Pair kernel) {
  const int64_t row = kernel.w * shape[3], size = kernel.h * row;
  Eigen::MatrixXd sum = Eigen::MatrixXd::Zero(size, size);
  Eigen::VectorXd patch(size);
  int64_t patches = 0;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t y = 0; y + kernel.h <= shape[1]; ++y)
      for (int64_t x = 0; x + kernel.w <= shape[2]; ++x) {
        const float* corner = pictures.data() + ((n * shape[1] + y) * shape[2] + x) * shape[3];
        for (int64_t r = 0; r < kernel.h; ++r)
          for (int64_t i = 0; i < row; ++i) patch[r * row + i] = corner[r * shape[2] * shape[3] + i];
        sum.selfadjointView<Eigen::Lower>().rankUpdate(patch);
        ++patches;
      }
  return sum / static_cast<double>(patches);
}

}  // namespace

std::vector<float> whitening_filters(std::span<const float> pictures, const Shape& shape, Pair kernel) {
  if (shape.rank() != 4 || static_cast<int64_t>(pictures.size()) != shape.numel() || kernel.h < 1 || kernel.w < 1 || shape[0] < 1 || shape[1] < kernel.h || shape[2] < kernel.w)
    throw_shape("whitening", "pictures " + shape.str() + " have no patches of " + std::to_string(kernel.h) + "x" + std::to_string(kernel.w));
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(patch_covariance(pictures, shape, kernel));
  const int64_t size = kernel.h * kernel.w * shape[3];
  constexpr double kEps = 5e-4;
  std::vector<float> filters;
  for (const double sign : {1.0, -1.0})
    for (int64_t i = 0; i < size; ++i) {
      const Eigen::VectorXd vector = solver.eigenvectors().col(i);
      Eigen::Index largest = 0;
      vector.cwiseAbs().maxCoeff(&largest);
      const double scale = (vector[largest] < 0 ? -sign : sign) / std::sqrt(solver.eigenvalues()[i] + kEps);
      for (int64_t j = 0; j < size; ++j) filters.push_back(static_cast<float>(vector[j] * scale));
    }
  return filters;
}

}  // namespace tern::nn
