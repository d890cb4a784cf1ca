#pragma once
#include <span>
#include <string>
#include <vector>

#include "tests/op_cases.h"

/// Tensors for the rows of op_cases.h, for the checks of op_cases_test.cpp and the microbenchmarks of bench/.
namespace tern::testing {

using Tensors = std::vector<Tensor>;

/// An element of any dtype as a double, and back (rounded to the dtype); on the CPU only.
double value_at(const Tensor& tensor, int64_t i);
void set_value(const Tensor& tensor, int64_t i, double value);

/// The inputs of a row: keyed random values, leaves where the input is differentiable. Floating inputs take `dtype`.
Tensors make_inputs(Context& context, const std::vector<Input>& inputs, DType dtype, uint64_t seed);
std::vector<Array> arrays_of(std::span<const Tensor> tensors);
Tensors leaves_of(std::span<const Tensor> inputs);

/// Random dL/dy for every output that is on the tape, and those outputs.
struct Seeded {
  Tensors outputs, seeds;
};
Seeded seed_outputs(const Tensors& outputs, uint64_t seed);

/// A row's forward outputs and, where the op has them, gradients of its differentiable inputs for dL/dy that are random
/// or, where given, `fixed_seeds`.
Tensors run_with_gradients(const OpCase& row, std::span<const Tensor> inputs, std::span<const Tensor> fixed_seeds = {});

}  // namespace tern::testing
