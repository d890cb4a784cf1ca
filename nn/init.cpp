#include "nn/init.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace tern::nn {
namespace {

/// fan_in and fan_out of a filter [out, R, S, in] or a matrix [out, in].
struct Fans {
  double in, out;
};
Fans fans_of(const Shape& shape) {
  const double receptive = shape.rank() == 4 ? static_cast<double>(shape[1] * shape[2]) : 1;
  return {receptive * static_cast<double>(shape[-1]), receptive * static_cast<double>(shape[0])};
}

template <class Draw>
void fill(const Tensor& tensor, uint64_t seed, size_t index, const Draw& draw) {
  std::vector<float> values(static_cast<size_t>(tensor.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(draw(random4({seed, index, i, kRngInit})));
  tensor.write(std::span<const float>(values));
}

void fill_uniform(const Tensor& tensor, uint64_t seed, size_t index, double bound) {
  fill(tensor, seed, index, [bound](const Random4& r) { return (2.0 * uniform01(r.v[0]) - 1.0) * bound; });
}

void fill_normal(const Tensor& tensor, uint64_t seed, size_t index, double deviation) {
  fill(tensor, seed, index, [deviation](const Random4& r) {  // Box and Muller
    const double radius = std::sqrt(-2.0 * std::log(1.0 - static_cast<double>(uniform01(r.v[0]))));
    return deviation * radius * std::cos(2.0 * std::numbers::pi * static_cast<double>(uniform01(r.v[1])));
  });
}

void fill_constant(const Tensor& tensor, float value) {
  const std::vector<float> values(static_cast<size_t>(tensor.numel()), value);
  tensor.write(std::span<const float>(values));
}

void initialize_weight(const Tensor& tensor, uint64_t seed, size_t index, InitScheme scheme) {
  const Fans fans = fans_of(tensor.shape());
  switch (scheme) {
    case InitScheme::pytorch: return fill_uniform(tensor, seed, index, 1 / std::sqrt(fans.in));
    case InitScheme::kaiming_uniform: return fill_uniform(tensor, seed, index, std::sqrt(6 / fans.in));
    case InitScheme::kaiming_normal: return fill_normal(tensor, seed, index, std::sqrt(2 / fans.in));
    case InitScheme::xavier_uniform: return fill_uniform(tensor, seed, index, std::sqrt(6 / (fans.in + fans.out)));
    case InitScheme::xavier_normal: return fill_normal(tensor, seed, index, std::sqrt(2 / (fans.in + fans.out)));
  }
}

}  // namespace

InitScheme init_scheme_from(const std::string& name) {
  if (name == "pytorch") return InitScheme::pytorch;
  if (name == "kaiming_uniform") return InitScheme::kaiming_uniform;
  if (name == "kaiming_normal") return InitScheme::kaiming_normal;
  if (name == "xavier_uniform") return InitScheme::xavier_uniform;
  if (name == "xavier_normal") return InitScheme::xavier_normal;
  throw ConfigError("[init] no initialiser '" + name +
                    "': pytorch, kaiming_uniform, kaiming_normal, xavier_uniform, xavier_normal");
}

void initialize(std::span<const Parameter> parameters, uint64_t seed, InitScheme scheme) {
  double fan_in = 1;  // of the weight in front of a bias
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& tensor = *parameters[i].tensor;
    switch (parameters[i].kind) {
      case ParamKind::conv_weight:
      case ParamKind::linear_weight:
        fan_in = fans_of(tensor.shape()).in;
        initialize_weight(tensor, seed, i, scheme);
        break;
      case ParamKind::bias:
        if (scheme == InitScheme::pytorch)
          fill_uniform(tensor, seed, i, 1 / std::sqrt(fan_in));
        else
          fill_constant(tensor, 0);
        break;
      case ParamKind::norm_weight: fill_constant(tensor, 1); break;
      case ParamKind::norm_bias: fill_constant(tensor, 0); break;
    }
  }
}


void initialize_dirac(const Tensor& weight) {
  const Shape& shape = weight.shape();  // [out, R, S, in]
  std::vector<float> values = weight.to_vector<float>();
  const int64_t filter = shape[1] * shape[2] * shape[3];
  for (int64_t i = 0; i < std::min(shape[0], shape[3]); ++i) {
    const auto first = values.begin() + i * filter;
    std::fill(first, first + filter, 0.0f);
    first[(shape[1] / 2 * shape[2] + shape[2] / 2) * shape[3] + i] = 1;
  }
  weight.write(std::span<const float>(values));
}

void initialize_unit_std(const Tensor& weight) {
  std::vector<float> values = weight.to_vector<float>();
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const float value : values) mean += value / n;
  for (const float value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / (n - 1));
  if (!(deviation > 0)) return;
  for (float& value : values) value = static_cast<float>(value / deviation);
  weight.write(std::span<const float>(values));
}

}  // namespace tern::nn
