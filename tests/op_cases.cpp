#include "tests/op_cases.h"

namespace tern::testing {

// Rows of tests/op_cases_<group>.cpp.
std::vector<OpCase> elementwise_cases();
std::vector<OpCase> reduction_cases();
std::vector<OpCase> shape_cases();
std::vector<OpCase> matmul_cases();
std::vector<OpCase> pooling_cases();
std::vector<OpCase> conv_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> loss_cases();
std::vector<OpCase> optim_cases();
std::vector<OpCase> data_cases();

// One row an op: see op_cases.h. References are naive loops in tests/naive_*.h.
const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    for (auto* group : {
             elementwise_cases,
             reduction_cases,
             shape_cases,
             matmul_cases,
             conv_cases,
             pooling_cases,
             norm_cases,
             loss_cases,
             optim_cases,
             data_cases,
         })
      for (OpCase& c : group()) all.push_back(std::move(c));
    return all;
  }();
  return cases;
}

}  // namespace tern::testing
