#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

/// The table of ops: a row drives the checks of tests/op_cases_test.cpp (forward against a naive reference, gradient
/// against f64 differences, replayed plan against eager, threads, NaN, empty batch) and a microbenchmark of bench/.
namespace tern::testing {

/// A tensor of the naive references: row-major doubles (integers too).
struct Array {
  Shape shape;
  std::vector<double> values;
  double& operator[](int64_t i) { return values[static_cast<size_t>(i)]; }
  double operator[](int64_t i) const { return values[static_cast<size_t>(i)]; }
};

/// How an input is made: uniform in [low, high) from a fixed seed; integer dtypes give whole numbers low..high-1.
struct Input {
  Shape shape;
  double low = -1;
  double high = 1;
  bool floating = true;       ///< takes the dtype under test and is differentiated; false: `fixed`, no gradient
  DType fixed = DType::i64;   ///< labels, indices, optimizer state
  bool differentiable = true;
};

struct OpCase {
  std::string op;                          ///< the folder's name: "conv2d"
  std::string variant;                     ///< "stride2_groups", or empty
  std::vector<std::vector<Input>> inputs;  ///< several sets of inputs: odd extents 1, 3, 17, 31
  /// Calls the public function. Every output that comes back is checked against `reference`.
  std::function<std::vector<Tensor>(std::span<const Tensor>)> run;
  /// The naive loops in f64.
  std::function<std::vector<Array>(std::span<const Array>)> reference;

  double f32_tolerance = 1e-5;   ///< of |y - ref| against max|ref| over the output
  bool f64 = true;               ///< also f64, to 1e-11
  bool half = true;              ///< also f16 and bf16 (2e-3 and 1.6e-2)
  bool gradient = true;          ///< d(sum y r)/dx against central differences, f64, 1e-6 relative
  bool second_gradient = false;  ///< the gradient's gradient too
  bool nan_passes = true;        ///< a NaN in input 0 reaches the output
  bool empty_batch_throws = true;  ///< axis 0 of input 0 of extent 0 is a ShapeError
  int64_t lane_size = 0;         ///< the context's
  bool fixed_shapes = false;     ///< no other shapes than those listed: `run` or the op knows them
  std::vector<Input> bench;      ///< inputs of the microbenchmark; empty: the first set
  int64_t bench_lane_size = 0;   ///< the context's there
  double bench_flops = 0;        ///< of the forward pass on them; 0: judged by its bytes
  /// Timed in place of `run` where that copies its inputs first, because the op overwrites them.
  std::function<std::vector<Tensor>(std::span<const Tensor>)> bench_run = {};
};

/// "conv2d/3x3": the row's name in messages and in bench.
inline std::string name_of(const OpCase& c) { return c.op + (c.variant.empty() ? "" : "/" + c.variant); }

const std::vector<OpCase>& op_cases();

}  // namespace tern::testing
