#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace tern {

/// A symmetric matrix is the sum of values[i] * vectors[i] vectors[i]^T, vectors of length 1 and at right angles.
struct SymmetricEigen {
  std::vector<double> values;                ///< ascending
  std::vector<std::vector<double>> vectors;  ///< each with its largest element positive, so that it is the same one everywhere
};

/// `matrix` [n, n]. On the calling thread. Throws ShapeError where the values are not n * n.
SymmetricEigen eigen_symmetric(std::span<const double> matrix, int64_t n);

}  // namespace tern
