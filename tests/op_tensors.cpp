#include "tests/op_tensors.h"

#include <cmath>

#include "core/autograd.h"
#include "core/rng.h"

namespace tern::testing {
namespace {

double uniform(uint64_t seed, uint64_t input, int64_t i) {
  const Random4 r = random4({seed, input, static_cast<uint64_t>(i), 99});
  return (static_cast<double>(r.v[0]) + static_cast<double>(r.v[1]) * 0x1p-32) * 0x1p-32;
}

/// Overwrites a tensor on any device with value(0), value(1), ... rounded to its dtype.
template <class Value>
void write_values(const Tensor& tensor, const Value& value) {
  dispatch_all(tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    std::vector<T> values(static_cast<size_t>(tensor.numel()));
    for (size_t i = 0; i < values.size(); ++i) {
      const double v = value(static_cast<int64_t>(i));
      if constexpr (sizeof(T) == 2)
        values[i] = T(static_cast<float>(v));
      else
        values[i] = static_cast<T>(v);
    }
    tensor.write(std::span<const T>(values));
  });
}

}  // namespace

double value_at(const Tensor& tensor, int64_t i) {
  return dispatch_all(tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    if constexpr (sizeof(T) == 2)
      return static_cast<double>(static_cast<float>(tensor.span<T>()[static_cast<size_t>(i)]));
    else
      return static_cast<double>(tensor.span<T>()[static_cast<size_t>(i)]);
  });
}

void set_value(const Tensor& tensor, int64_t i, double value) {
  dispatch_all(tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    if constexpr (sizeof(T) == 2)
      tensor.span<T>()[static_cast<size_t>(i)] = T(static_cast<float>(value));
    else
      tensor.span<T>()[static_cast<size_t>(i)] = static_cast<T>(value);
  });
}

Tensors make_inputs(Context& context, const std::vector<Input>& inputs, DType dtype, uint64_t seed) {
  Tensors tensors;
  for (const Input& input : inputs) {
    Tensor tensor = Tensor::empty(context, input.shape, input.floating ? dtype : input.fixed);
    const bool whole = !is_floating(tensor.dtype());
    write_values(tensor, [&](int64_t i) {
      const double value = input.low + uniform(seed, tensors.size(), i) * (input.high - input.low);
      return whole ? std::floor(value) : value;
    });
    if (input.floating && input.differentiable) tensor.set_requires_grad();
    tensors.push_back(tensor);
  }
  return tensors;
}

std::vector<Array> arrays_of(std::span<const Tensor> tensors) {
  std::vector<Array> arrays;
  for (const Tensor& tensor : tensors) {
    Array array{tensor.shape(), std::vector<double>(static_cast<size_t>(tensor.numel()))};
    dispatch_all(tensor.dtype(), [&](auto t) {
      using T = decltype(t);
      const std::vector<T> values = tensor.to_vector<T>();
      for (size_t i = 0; i < values.size(); ++i) {
        if constexpr (sizeof(T) == 2)
          array.values[i] = static_cast<double>(static_cast<float>(values[i]));
        else
          array.values[i] = static_cast<double>(values[i]);
      }
    });
    arrays.push_back(std::move(array));
  }
  return arrays;
}

Tensors leaves_of(std::span<const Tensor> inputs) {
  Tensors leaves;
  for (const Tensor& input : inputs)
    if (input.requires_grad()) leaves.push_back(input);
  return leaves;
}

Seeded seed_outputs(const Tensors& outputs, uint64_t seed) {
  Seeded seeded;
  for (const Tensor& output : outputs) {
    if (!output.requires_grad()) continue;
    Tensor r = Tensor::empty(output.context(), output.shape(), output.dtype());
    write_values(r, [&](int64_t i) { return 2 * uniform(seed, 1000 + seeded.seeds.size(), i) - 1; });
    seeded.outputs.push_back(output);
    seeded.seeds.push_back(r);
  }
  return seeded;
}

Tensors run_with_gradients(const OpCase& row, std::span<const Tensor> inputs, std::span<const Tensor> fixed_seeds) {
  Tensors results = row.run(inputs);
  if (!row.gradient) return results;
  Seeded seeded = seed_outputs(results, 5);
  if (!fixed_seeds.empty()) seeded.seeds.assign(fixed_seeds.begin(), fixed_seeds.end());
  const Tensors leaves = leaves_of(inputs);
  if (leaves.empty() || seeded.outputs.empty()) return results;
  for (Tensor& g : grad(seeded.outputs, leaves, seeded.seeds)) results.push_back(g);
  return results;
}

}  // namespace tern::testing
