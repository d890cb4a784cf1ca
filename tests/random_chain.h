#pragma once
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "core/autograd.h"
#include "core/plan.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "tests/catch.h"
#include "tests/op_tensors.h"

/// Random runs of elementwise ops, for the tests of elementwise_chain on both devices.
namespace tern::testing {

/// A run of 2 to 8 ops that starts at in[0] [N,C]; other operands are the results before or in: [N,C], [N,C], [C], [1].
class RandomChain {
 public:
  explicit RandomChain(uint64_t seed) : seed_(seed), steps_(2 + static_cast<int>(draw(99, 0) % 7)) {}
  int steps() const { return steps_; }

  Tensor operator()(std::span<const Tensor> in) const {
    Tensor y = in[0];
    for (int s = 0; s < steps_; ++s) {
      const Tensor& other = draw(s, 0) % 6 == 0 ? y : in[draw(s, 1) % in.size()];
      const double number = 0.25 * static_cast<double>(1 + draw(s, 2) % 9) - 1.1;
      // The first result must have the output's shape, which [C] and [1] alone do not give.
      const bool swapped = draw(s, 3) % 2 == 1;
      y = apply_one_of(draw(s, 0) / 8, swapped ? other : y, swapped ? y : other, y, number);
    }
    return y;
  }

 private:
  uint32_t draw(int step, uint32_t which) const {
    return random4({.seed = seed_, .sample = static_cast<uint64_t>(step), .op = which}).v[0];
  }

  static Tensor apply_one_of(uint32_t which, const Tensor& a, const Tensor& b, const Tensor& x, double number) {
    const bool alike = a.shape() == b.shape();
    switch (which % 29) {
      case 0: return add(a, b);
      case 1: return sub(a, b);
      case 2: return mul(a, b);
      case 3: return div(a, b);
      case 4: return maximum(a, b);
      case 5: return minimum(a, b);
      case 6: return relu_backward(x, alike ? b : x);
      case 7: return alike ? silu_backward(a, b) : silu(x);
      case 8: return alike ? gelu_backward(a, b) : gelu(x);
      case 9: return alike ? gelu_backward(a, b, {.approximate = Gelu::tanh}) : gelu(x, {.approximate = Gelu::tanh});
      case 10: return tanh_backward(x, alike ? b : x);
      case 11: return sigmoid_backward(x, alike ? b : x);
      case 12: return add(x, number);
      case 13: return mul(x, number);
      case 14: return sub(number, x);
      case 15: return div(x, number);
      case 16: return div(number, x);
      case 17: return neg(x);
      case 18: return abs(x);
      case 19: return relu(x);
      case 20: return clamp(x, {.low = -1.5, .high = std::abs(number)});
      case 21: return sqrt(x);
      case 22: return rsqrt(x);
      case 23: return exp(x);
      case 24: return log(x);
      case 25: return tanh(x);
      case 26: return sigmoid(x);
      case 27: return silu(x);
      default: return gelu(x);
    }
  }

  uint64_t seed_;
  int steps_;
};

/// Largest |a - b| over the larger of |b| and 1e-30, element by element; 0 where both are NaN or equal.
inline double relative_difference(const Tensor& a, const Tensor& b) {
  const Array x = arrays_of(std::span(&a, 1))[0], y = arrays_of(std::span(&b, 1))[0];
  double worst = 0;
  for (size_t i = 0; i < x.values.size(); ++i) {
    if (x.values[i] == y.values[i] || (std::isnan(x.values[i]) && std::isnan(y.values[i]))) continue;
    const double error = std::abs(x.values[i] - y.values[i]) / std::max(std::abs(y.values[i]), 1e-30);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

/// Replays random chains on tensors that are odd in size, on views that start anywhere, and on long ones, and compares
/// with the ops one by one; each must have become one instruction. `tolerance`: relative; 0: the same bits.
inline void check_random_chains(const Context::Options& options, double tolerance, uint64_t chains) {
  Context context(options);
  NoGrad guard(context);
  const Shape shapes[] = {{3, 17}, {1, 1}, {5, 32}, {2, 1031}, {7, 64}, {35, 1000}};
  for (uint64_t seed = 0; seed < chains; ++seed) {
    const RandomChain chain(seed);
    const Shape& shape = shapes[seed % std::size(shapes)];
    const bool view = seed % 4 == 3;
    const Shape whole = shape.with(0, shape[0] + (view ? 1 : 0));
    const std::vector<Input> set = {{.shape = whole, .low = -2, .high = 3},
                                    {.shape = whole, .low = -2, .high = 3},
                                    {.shape = {shape[1]}},
                                    {.shape = {1}, .low = 0.5, .high = 2}};
    const auto function = [&](std::span<const Tensor> in) {
      Tensors operands(in.begin(), in.end());
      if (view)
        for (size_t i = 0; i < 2; ++i) operands[i] = slice(in[i], 0, 1, whole[0]);
      return std::vector{chain(operands)};
    };
    for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
      INFO("chain " << seed << " of " << chain.steps() << " ops on " << name_of(dtype) << shape.str());
      CompiledStep step = compile(context, function);
      step(make_inputs(context, set, dtype, 20));
      const Tensors inputs = make_inputs(context, set, dtype, 21);
      const Tensor wanted = function(inputs)[0];
      CHECK(relative_difference(step(inputs)[0], wanted) <= tolerance);
      CHECK(step.stats()[0].instructions == 1);
      CHECK(step.stats()[0].fused == chain.steps() - 1);
    }
  }
}

}  // namespace tern::testing
