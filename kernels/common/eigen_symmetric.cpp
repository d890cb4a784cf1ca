#include "kernels/common/eigen_symmetric.h"

#include <Eigen/Eigenvalues>

#include "core/op.h"

namespace tern {

SymmetricEigen eigen_symmetric(std::span<const double> matrix, int64_t n) {
  if (static_cast<int64_t>(matrix.size()) != n * n) throw_shape("eigen_symmetric", std::to_string(matrix.size()) + " values are no matrix of " + std::to_string(n) + " rows");
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(Eigen::Map<const Eigen::MatrixXd>(matrix.data(), n, n));
  SymmetricEigen result;
  for (int64_t i = 0; i < n; ++i) {
    const Eigen::VectorXd vector = solver.eigenvectors().col(i);
    Eigen::Index largest = 0;
    vector.cwiseAbs().maxCoeff(&largest);
    const double sign = vector[largest] < 0 ? -1 : 1;
    result.values.push_back(solver.eigenvalues()[i]);
    result.vectors.emplace_back();
    for (int64_t j = 0; j < n; ++j) result.vectors.back().push_back(sign * vector[j]);
  }
  return result;
}

}  // namespace tern
