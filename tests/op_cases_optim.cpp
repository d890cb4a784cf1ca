// Rows of the kernels that update flat arenas. They overwrite their inputs, so a row's run works on copies; steps against
// PyTorch's are in optimizer_ops_test.cpp.
#include <algorithm>
#include <cmath>

#include "kernels/ops.h"
#include "tests/op_cases.h"

namespace tern::testing {
namespace {

using Tensors = std::vector<Tensor>;
using Inputs = std::span<const Array>;

constexpr int64_t kCifarCnn = 298570;  // parameters of the preset

Input f32(const Shape& shape, double low = -1, double high = 1) {
  return {.shape = shape, .low = low, .high = high, .floating = false, .fixed = DType::f32};
}
Input f64(double low, double high) {
  return {.shape = {1}, .low = low, .high = high, .floating = false, .fixed = DType::f64};
}

/// A row over f32 arenas of several lengths; `update` overwrites the first `written` inputs, which are its outputs.
OpCase arena_row(std::string op, std::string variant, size_t written, const std::function<std::vector<Input>(int64_t)>& inputs,
                 const std::function<void(std::span<const Tensor>)>& update,
                 const std::function<std::vector<Array>(Inputs)>& reference) {
  OpCase c;
  c.op = std::move(op);
  c.variant = std::move(variant);
  c.inputs = {inputs(17), inputs(1), inputs(3 * 31)};
  c.bench = inputs(kCifarCnn);
  c.run = [=](std::span<const Tensor> in) {
    Tensors copies(in.begin(), in.end());
    for (size_t i = 0; i < written; ++i) copies[i] = mul(in[i], 1.0);
    update(copies);
    copies.resize(written);
    return copies;
  };
  c.bench_run = [=](std::span<const Tensor> in) {
    update(in);
    return Tensors(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(written));
  };
  c.reference = reference;
  c.f64 = c.half = c.gradient = false;
  return c;
}

/// The same with an additional input and output: the rounded copy of the master arena, which comes before the others.
OpCase with_weights(OpCase c, DType dtype, size_t written,
                    const std::function<void(std::span<const Tensor>, const Tensor&)>& update,
                    const std::function<std::vector<Array>(Inputs)>& reference) {
  c.variant += (c.variant.empty() ? "" : "_") + std::string(name_of(dtype)) + "_weights";
  c.run = [=](std::span<const Tensor> in) {
    Tensors copies(in.begin(), in.end());
    for (size_t i = 0; i < written; ++i) copies[i] = mul(in[i], 1.0);
    const Tensor weights = Tensor::zeros(in[0].context(), in[0].shape(), dtype);
    update(copies, weights);
    copies.resize(written);
    copies.insert(copies.begin(), weights);
    return copies;
  };
  c.reference = [=](Inputs in) {
    std::vector<Array> outputs = reference(in);
    outputs.insert(outputs.begin(), outputs[0]);
    return outputs;
  };
  c.f32_tolerance = dtype == DType::f16 ? 5e-4 : 4e-3;  // half of the copy's last place
  c.bench = {};
  c.bench_run = {};
  return c;
}

OpCase adamw_row(DType weights = DType::f32) {
  const auto inputs = [](int64_t n) {  // master, m, v, step, grads, lr, grad_scale
    return std::vector<Input>{f32({n}), f32({n}), f32({n}, 0, 1), f64(3, 4), f32({n}), f64(0.01, 0.02), f32({1}, 0.5, 1)};
  };
  const auto update = [](std::span<const Tensor> in, const Tensor& weights) {
    const Tensor found_inf = Tensor::zeros(in[0].context(), {1});
    adamw({in[0], in[1], in[2], in[3], in[4], in[5], in[6], found_inf, weights},
          {.segments = {{0, in[0].numel(), 0, 0.1}}});
  };
  const auto reference = [](Inputs in) {
    Array p = in[0], m = in[1], v = in[2], step = in[3];
    step[0] += 1;
    const double lr = in[5][0], c1 = 1 - std::pow(0.9, step[0]), c2 = 1 - std::pow(0.999, step[0]);
    for (int64_t i = 0; i < p.shape.numel(); ++i) {
      const double g = in[6][0] * in[4][i];
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      p[i] = p[i] * (1 - lr * 0.1) - lr / c1 * m[i] / (std::sqrt(v[i] / c2) + 1e-8);
    }
    return std::vector{p, m, v, step};
  };
  OpCase c = arena_row("adamw", "", 4, inputs, [=](std::span<const Tensor> in) { update(in, {}); }, reference);
  return weights == DType::f32 ? c : with_weights(c, weights, 4, update, reference);
}

OpCase sgd_row(bool nesterov, DType weights = DType::f32) {
  const auto inputs = [](int64_t n) {  // master, momentum, grads, lr, grad_scale
    return std::vector<Input>{f32({n}), f32({n}), f32({n}), f64(0.01, 0.02), f32({1}, 0.5, 1)};
  };
  const auto update = [=](std::span<const Tensor> in, const Tensor& copy) {
    const Tensor found_inf = Tensor::zeros(in[0].context(), {1});
    sgd({in[0], in[1], in[2], in[3], in[4], found_inf, copy},
        {.momentum = 0.9, .nesterov = nesterov, .segments = {{0, in[0].numel(), 0, 0.1}}});
  };
  const auto reference = [=](Inputs in) {
    Array p = in[0], b = in[1];
    for (int64_t i = 0; i < p.shape.numel(); ++i) {
      const double d = in[4][0] * in[2][i] + 0.1 * p[i];
      b[i] = 0.9 * b[i] + d;
      p[i] -= in[3][0] * (nesterov ? d + 0.9 * b[i] : b[i]);
    }
    return std::vector{p, b};
  };
  OpCase c = arena_row("sgd", nesterov ? "nesterov" : "momentum", 2, inputs,
                       [=](std::span<const Tensor> in) { update(in, {}); }, reference);
  return weights == DType::f32 ? c : with_weights(c, weights, 2, update, reference);
}

OpCase ema_row() {
  const auto inputs = [](int64_t n) { return std::vector<Input>{f32({n}), f32({n}), f64(0.9, 1)}; };
  const auto reference = [](Inputs in) {
    Array y = in[0];
    for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] = in[2][0] * y[i] + (1 - in[2][0]) * in[1][i];
    return std::vector{y};
  };
  return arena_row("ema", "", 1, inputs, [](std::span<const Tensor> in) { ema(in[0], in[1], in[2]); }, reference);
}

OpCase loss_scale_row(bool found_inf) {
  OpCase c;
  c.op = "loss_scale";
  c.variant = found_inf ? "back_off" : "grow";
  // The second set's count is one short of the interval.
  const auto inputs = [](double steps) {
    return std::vector<Input>{f32({1}, 3, 4), {.shape = {1}, .low = steps, .high = steps + 1, .floating = false}};
  };
  c.inputs = {inputs(3), inputs(9)};
  c.run = [=](std::span<const Tensor> in) {
    const Tensor scale = mul(in[0], 1.0), steps = Tensor::zeros(in[1].context(), {1}, DType::i64);
    steps.copy_from(in[1]);
    loss_scale_update(scale, steps, Tensor::full(in[0].context(), {1}, found_inf ? 1 : 0),
                      {.growth_interval = 10, .min_scale = 1.75, .max_scale = 7});
    return std::vector{scale, steps};
  };
  c.reference = [=](Inputs in) {
    const bool grows = !found_inf && in[1][0] == 9;
    const double factor = found_inf ? 0.5 : grows ? 2 : 1;
    return std::vector{Array{{1}, {std::clamp(in[0][0] * factor, 1.75, 7.0)}},
                       Array{{1}, {found_inf || grows ? 0 : in[1][0] + 1}}};
  };
  c.f64 = c.half = c.gradient = c.nan_passes = false;
  return c;
}

OpCase flatten_into_row() {
  const auto inputs = [](int64_t n) { return std::vector<Input>{f32({2 * n + 19}), f32({n}), f32({1, n})}; };
  const auto update = [](std::span<const Tensor> in) {
    const int64_t offsets[] = {3, in[1].numel() + 16};
    flatten_into(in[0], in.subspan(1), offsets);
  };
  const auto reference = [](Inputs in) {
    Array y = in[0];
    const int64_t n = in[1].shape.numel();
    for (int64_t i = 0; i < n; ++i) {
      y[3 + i] = in[1][i];
      y[n + 16 + i] = in[2][i];
    }
    return std::vector{y};
  };
  OpCase c = arena_row("flatten_into", "", 1, inputs, update, reference);
  c.f32_tolerance = 0;
  c.nan_passes = false;  // the NaN may lie where a tensor is copied to
  return c;
}

OpCase global_norm_row() {
  OpCase c;
  c.op = "global_norm";
  c.inputs = {{f32({17})}, {f32({1})}, {f32({3 * 31 * 1000})}};
  c.bench = {f32({kCifarCnn})};
  c.run = [](std::span<const Tensor> in) {
    const GlobalNorm r = global_norm(in[0]);
    return std::vector{r.norm, r.found_inf};
  };
  c.reference = [](Inputs in) {
    double sum = 0;
    for (double v : in[0].values) sum += v * v;
    return std::vector{Array{{1}, {std::sqrt(sum)}}, Array{{1}, {0}}};
  };
  c.f64 = c.half = c.gradient = false;
  return c;
}

OpCase clip_coefficient_row() {
  OpCase c;
  c.op = "clip_coefficient";
  c.inputs = {{f32({1}, 0, 4), f32({1}, 0.5, 1)}, {f32({1}, 3, 4), f32({1}, 0.5, 1)}};
  c.run = [](std::span<const Tensor> in) { return std::vector{clip_coefficient(in[0], in[1], {.max_norm = 1})}; };
  c.reference = [](Inputs in) {
    const double scale = in[1][0];
    return std::vector{Array{{1}, {scale * std::min(1.0, 1 / (scale * in[0][0] + 1e-6))}}};
  };
  c.f64 = c.half = c.gradient = false;
  return c;
}

}  // namespace

std::vector<OpCase> optim_cases() {
  return {adamw_row(),
          adamw_row(DType::f16),
          adamw_row(DType::bf16),
          sgd_row(false),
          sgd_row(true),
          sgd_row(true, DType::f16),
          sgd_row(false, DType::bf16),
          ema_row(),
          flatten_into_row(),
          global_norm_row(),
          clip_coefficient_row(),
          loss_scale_row(false),
          loss_scale_row(true)};
}

}  // namespace tern::testing
