#include "tests/op_tensors.h"

#include <cmath>

#include "core/rng.h"

namespace tern::testing {
namespace {

double uniform(uint64_t seed, uint64_t input, int64_t i) {
  const Random4 r = random4({seed, input, static_cast<uint64_t>(i), 99});
  return (static_cast<double>(r.v[0]) + static_cast<double>(r.v[1]) * 0x1p-32) * 0x1p-32;
}

}  // namespace

double value_at(const Tensor& tensor, int64_t i) {
  return dispatch_all(tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    if constexpr (sizeof(T) == 2)
      return static_cast<double>(static_cast<float>(tensor.data<T>()[i]));
    else
      return static_cast<double>(tensor.data<T>()[i]);
  });
}

void set_value(const Tensor& tensor, int64_t i, double value) {
  dispatch_all(tensor.dtype(), [&](auto t) {
    using T = decltype(t);
    if constexpr (sizeof(T) == 2)
      tensor.data<T>()[i] = T(static_cast<float>(value));
    else
      tensor.data<T>()[i] = static_cast<T>(value);
  });
}

Tensors make_inputs(Context& context, const std::vector<Input>& inputs, DType dtype, uint64_t seed) {
  Tensors tensors;
  for (const Input& input : inputs) {
    Tensor tensor = Tensor::empty(context, input.shape, input.floating ? dtype : input.fixed);
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      const double u = uniform(seed, tensors.size(), i);
      const double value = input.low + u * (input.high - input.low);
      set_value(tensor, i, is_floating(tensor.dtype()) ? value : std::floor(value));
    }
    if (input.floating && input.differentiable) tensor.set_requires_grad();
    tensors.push_back(tensor);
  }
  return tensors;
}

std::vector<Array> arrays_of(std::span<const Tensor> tensors) {
  std::vector<Array> arrays;
  for (const Tensor& tensor : tensors) {
    Array array{tensor.shape(), std::vector<double>(static_cast<size_t>(tensor.numel()))};
    for (int64_t i = 0; i < tensor.numel(); ++i) array[i] = value_at(tensor, i);
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
    for (int64_t i = 0; i < r.numel(); ++i) set_value(r, i, 2 * uniform(seed, 1000 + seeded.seeds.size(), i) - 1);
    seeded.outputs.push_back(output);
    seeded.seeds.push_back(r);
  }
  return seeded;
}

}  // namespace tern::testing
