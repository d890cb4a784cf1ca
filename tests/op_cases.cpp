#include "tests/op_cases.h"

namespace tern::testing {

// One row an op: see op_cases.h. References are naive loops in tests/naive_*.h.
const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = {
      // --- elementwise
      // --- reductions
      // --- shape
      // --- matmul
      // --- convolution and pooling
      // --- normalisation
      // --- loss and dropout
  };
  return cases;
}

}  // namespace tern::testing
