// The shapes and properties of the normalisation, pooling and optimizer kernels that op_cases.h does not reach: many cuts
// of a lane, rows wider than a block, pictures off the 16-byte grid, hundreds of segments. Against the CPU.
#include <cmath>
#include <cstring>

#include "core/autograd.h"
#include "kernels/adamw/adamw.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/ema/ema.h"
#include "kernels/loss_scale/loss_scale.h"
#include "kernels/max_pool2d/max_pool2d.h"
#include "kernels/reshape/reshape.h"
#include "kernels/sgd/sgd.h"
#include "kernels/slice/slice.h"
#include "tests/catch.h"
#include "tests/cuda_util.h"
#include "tests/op_tensors.h"

namespace tern::testing {
namespace {

using test::no_gpu;

struct Machine {
  explicit Machine(Device::Kind kind, int64_t lane_size = 0) : context(test::on(kind)) { context.set_lane_size(lane_size); }
  Context context;
};

float value(int64_t i, int64_t seed) { return static_cast<float>((i * 7919 + seed * 104729 + i * i % 613) % 2003 - 1001) / 1024; }

/// Values in about -1..1 times `scale` plus `shift`, rounded to the dtype: the same on every device.
Tensor numbers(Context& context, const Shape& shape, DType dtype, int64_t seed, float scale = 1, float shift = 0) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = value(static_cast<int64_t>(i), seed) * scale + shift;
  if (dtype == DType::f32) return Tensor::from(context, shape, values);
  const auto rounded = [&](auto t) {
    return Tensor::from(context, shape, std::vector<decltype(t)>(values.begin(), values.end()));
  };
  if (dtype == DType::f64) return rounded(double{});
  std::vector<Half> halves;
  for (float v : values) halves.push_back(Half(v));
  return Tensor::from(context, shape, halves);
}

/// Largest difference over the largest number of `want`.
double difference(const Tensor& got, const Tensor& want) {
  const std::vector<Array> both = arrays_of(std::vector{got, want});
  double largest = 1e-3, worst = 0;
  for (double v : both[1].values) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < both[0].values.size(); ++i) {
    const double error = std::abs(both[0].values[i] - both[1].values[i]);
    worst = std::isfinite(error) ? std::max(worst, error) : INFINITY;
  }
  return worst / largest;
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes());
  tensor.read_bytes(bytes.data());
  return bytes;
}

/// y, mean, var, dx, dgamma, dbeta.
Tensors batch_norm_results(Context& context, Tensor x, int64_t first_seed, Activation activation) {
  const Shape channels{x.size(-1)};
  const DType wide = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Tensor gamma = numbers(context, channels, wide, first_seed, 0.5f, 1.5f);
  Tensor beta = numbers(context, channels, wide, first_seed + 1, 0.5f);
  for (Tensor* leaf : {&x, &gamma, &beta}) leaf->set_requires_grad();
  const BatchNormResult r = batch_norm_train(x, gamma, beta, {.activation = activation});
  const Tensors grads = grad(std::vector{r.y}, std::vector{x, gamma, beta},
                             std::vector{numbers(context, x.shape(), x.dtype(), first_seed + 2)});
  return {r.y.detach(), r.mean.detach(), r.var.detach(), grads[0], grads[1], grads[2]};
}

}  // namespace

TEST_CASE("cuda: batch_norm of many cuts, wide rows and ragged lanes agrees with the CPU", "[cuda][norm]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  struct Case {
    Shape x;
    int64_t lane_size;
  };
  const Case c = GENERATE(Case{{9, 24, 12, 64}, 8}, Case{{5, 3, 7, 264}, 2}, Case{{40, 256}, 16}, Case{{2, 34, 8, 128}, 0},
                          Case{{3, 50, 3}, 1});
  const DType dtype = GENERATE(DType::f32, DType::f16, DType::f64);
  const float shift = GENERATE(0.0f, 30.0f);
  Machine gpu(Device::Kind::cuda, c.lane_size), cpu(Device::Kind::cpu, c.lane_size);
  const auto run = [&](Machine& m) {
    // Without ReLU: at its corner the devices' roundings differ by a whole gradient.
    return batch_norm_results(m.context, numbers(m.context, c.x, dtype, 1, 1, shift), 2, Activation::none);
  };
  const Tensors got = run(gpu), want = run(cpu);
  // A mean of 30 is known to half of its last place, 1e-6 of the deviations.
  const double tolerance = dtype == DType::f16 ? 2e-3 : dtype == DType::f64 ? 1e-11 : shift == 0 ? 4e-6 : 2e-5;
  for (size_t k = 0; k < got.size(); ++k) {
    INFO(c.x.str() << " " << name_of(dtype) << " shift " << shift << " result " << k);
    CHECK(difference(got[k], want[k]) <= tolerance);
  }
}

TEST_CASE("cuda: batch_norm's mask of a fused ReLU is that of a separate one", "[cuda][norm]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  const DType dtype = GENERATE(DType::f32, DType::f16);
  Machine gpu(Device::Kind::cuda, 2);
  const Shape shape{5, 6, 7, 40};
  const Tensors plain = batch_norm_results(gpu.context, numbers(gpu.context, shape, dtype, 1), 2, Activation::none);
  Tensor x = numbers(gpu.context, shape, dtype, 1).set_requires_grad();
  const Tensor gamma = numbers(gpu.context, {40}, DType::f32, 2, 0.5f, 1.5f);
  Tensor beta = numbers(gpu.context, {40}, DType::f32, 3, 0.5f).set_requires_grad();
  const Tensor y = batch_norm_train(x, gamma, beta, {.activation = Activation::relu}).y;
  const Tensor ones = numbers(gpu.context, shape, dtype, 0, 0, 1);
  const std::vector<Array> arrays = arrays_of(std::vector{plain[0], y.detach(), grad(std::vector{y}, std::vector{beta}, std::vector{ones})[0]});
  std::vector<double> positive(40);
  for (size_t i = 0; i < arrays[0].values.size(); ++i) {
    REQUIRE(arrays[1].values[i] == std::max(arrays[0].values[i], 0.0));
    positive[i % 40] += arrays[0].values[i] > 0;
  }
  CHECK(arrays[2].values == positive);  // dL/dbeta counts the values that pass
}

TEST_CASE("cuda: a folded batch has the bits of its lanes", "[cuda][norm]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  Machine gpu(Device::Kind::cuda, 8);
  const Shape lane{8, 24, 12, 16};
  const Tensor x = numbers(gpu.context, {24, 24, 12, 16}, DType::f16, 1);
  const Tensor gamma = numbers(gpu.context, {16}, DType::f32, 2, 0.5f, 1.5f), beta = numbers(gpu.context, {16}, DType::f32, 3);
  const BatchNormResult folded = batch_norm_train(x, gamma, beta);
  const std::vector<std::byte> y = bytes_of(folded.y), mean = bytes_of(folded.mean), var = bytes_of(folded.var);
  for (int64_t i = 0; i < 3; ++i) {
    std::vector<Half> values = x.to_vector<Half>();
    const auto begin = values.begin() + i * lane.numel();
    const Tensor part = Tensor::from(gpu.context, lane, std::vector<Half>(begin, begin + lane.numel()));
    const BatchNormResult alone = batch_norm_train(part, gamma, beta);
    const auto at = [&](const std::vector<std::byte>& all, const Tensor& one) {
      return std::memcmp(all.data() + static_cast<size_t>(i) * one.bytes(), bytes_of(one).data(), one.bytes()) == 0;
    };
    CHECK(at(y, alone.y));
    CHECK(at(mean, alone.mean));
    CHECK(at(var, alone.var));
  }
}

TEST_CASE("cuda: values off the 16-byte grid give the same bits", "[cuda][norm]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  Machine gpu(Device::Kind::cuda);
  const Shape shape{6, 5, 4, 16};
  const Tensor flat = numbers(gpu.context, {1 + shape.numel()}, DType::f16, 1);
  const Tensor shifted = reshape(slice(flat, 0, 1, 1 + shape.numel()), shape);
  std::vector<Half> values = flat.to_vector<Half>();
  values.erase(values.begin());
  const Tensor aligned = Tensor::from(gpu.context, shape, values);
  REQUIRE(reinterpret_cast<uintptr_t>(shifted.raw()) % 16 == 2);
  const Tensors got = batch_norm_results(gpu.context, shifted.detach(), 2, Activation::relu);
  const Tensors want = batch_norm_results(gpu.context, aligned, 2, Activation::relu);
  for (size_t k = 0; k < got.size(); ++k) CHECK(bytes_of(got[k]) == bytes_of(want[k]));
  CHECK(bytes_of(max_pool2d(shifted)) == bytes_of(max_pool2d(aligned)));
}

TEST_CASE("cuda: batch_norm_update agrees with the CPU, and a skipped step changes nothing", "[cuda][norm]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  const std::optional<double> momentum = GENERATE(std::optional<double>(0.1), std::optional<double>());
  const auto run = [&](Device::Kind kind, float skip) {
    Machine m(kind);
    const BatchNormUpdate options{momentum, {.rows = 10, .size = 4}, 6};
    const Tensor mean = numbers(m.context, {600}, DType::f32, 1), var = numbers(m.context, {600}, DType::f32, 2, 0.2f, 1);
    const Tensor batches = Tensor::from(m.context, {1}, std::vector<int64_t>{5});
    batch_norm_update(mean, var, batches, numbers(m.context, {3, 600}, DType::f32, 3),
                      numbers(m.context, {3, 600}, DType::f32, 4, 0.2f, 1), options, Tensor::from(m.context, {1}, std::vector<float>{skip}));
    return std::tuple(mean.to_vector<float>(), var.to_vector<float>(), batches.item());
  };
  const auto got = run(Device::Kind::cuda, 0), want = run(Device::Kind::cpu, 0), skipped = run(Device::Kind::cuda, 1);
  CHECK(std::get<2>(got) == 8);
  CHECK(std::get<2>(skipped) == 5);
  CHECK(std::get<0>(skipped)[7] == value(7, 1));
  double worst = 0;
  for (size_t i = 0; i < 600; ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(std::get<0>(got)[i]) - static_cast<double>(std::get<0>(want)[i])));
    worst = std::max(worst, std::abs(static_cast<double>(std::get<1>(got)[i]) - static_cast<double>(std::get<1>(want)[i])));
  }
  CHECK(worst < 3e-7);
}

TEST_CASE("cuda: adamw and sgd over many odd segments give the CPU's numbers", "[cuda][optim]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  const bool is_adamw = GENERATE(true, false);
  const int64_t count = 9001;
  std::vector<UpdateSegment> segments;  // more than one launch takes; some empty, some elements in none
  for (int64_t at = 3, i = 0; i < 150; ++i) {
    const int64_t length = i % 7 == 0 ? 0 : i == 40 ? 2600 : 1 + i * 37 % 71;
    segments.push_back({at, at + length, static_cast<int>(i % 2), i % 3 == 0 ? 0.1 : 0.0});
    at += length + i % 4;
  }
  REQUIRE(segments.back().end <= count);
  const auto run = [&](Device::Kind kind) {
    Machine m(kind);
    Context& c = m.context;
    const auto arena = [&](int64_t seed) { return numbers(c, {count}, DType::f32, seed); };
    const Tensor master = arena(0), first = numbers(c, {count}, DType::f32, 0, 0), second = numbers(c, {count}, DType::f32, 0, 0);
    const Tensor step = Tensor::from(c, {1}, std::vector<double>{0}), lr = Tensor::from(c, {2}, std::vector<double>{0.01, 0.02});
    const Tensor weights = numbers(c, {count}, DType::f16, 0, 0, 7), scale = numbers(c, {1}, DType::f32, 0, 0, 0.75f);
    for (int64_t t = 1; t <= 4; ++t) {
      const Tensor found_inf = numbers(c, {1}, DType::f32, 0, 0, t == 3 ? 1.0f : 0.0f);
      if (is_adamw)
        adamw({master, first, second, step, arena(t), lr, scale, found_inf, weights}, {.segments = segments});
      else
        sgd({master, first, arena(t), lr, scale, found_inf, weights},
            {.momentum = 0.9, .nesterov = true, .segments = segments});
    }
    if (is_adamw) CHECK(step.item() == 3);
    return arrays_of(std::vector{master, first, second, weights});
  };
  const auto got = run(Device::Kind::cuda), want = run(Device::Kind::cpu);
  for (size_t k = 0; k < 4; ++k) {
    double worst = 0;
    for (size_t i = 0; i < got[k].values.size(); ++i) worst = std::max(worst, std::abs(got[k].values[i] - want[k].values[i]));
    INFO("result " << k);
    CHECK(worst <= (k == 3 ? 1e-3 : 2e-7));  // rounding to f16 may fall to the other side
  }
}

TEST_CASE("cuda: ema has the CPU's bits, and loss_scale its steps", "[cuda][optim]") {
  if (const std::string reason = no_gpu(); !reason.empty()) SKIP(reason);
  const auto run = [&](Device::Kind kind) {
    Machine m(kind);
    Context& c = m.context;
    const Tensor average = numbers(c, {1003}, DType::f32, 1), decay = Tensor::from(c, {1}, std::vector<double>{0.9});
    ema(average, numbers(c, {1003}, DType::f32, 2), decay);
    const Tensor scale = numbers(c, {1}, DType::f32, 0, 0, 64);
    const Tensor steps = Tensor::from(c, {1}, std::vector<int64_t>{0});
    std::vector<double> seen;
    for (const float found_inf : {0.0f, 0.0f, 0.0f, 1.0f, 0.0f, 1.0f}) {
      loss_scale_update(scale, steps, numbers(c, {1}, DType::f32, 0, 0, found_inf), {.growth_interval = 2});
      seen.insert(seen.end(), {scale.item(), steps.item()});
    }
    return std::pair(bytes_of(average), seen);
  };
  const auto [average, seen] = run(Device::Kind::cuda);
  CHECK(seen == std::vector<double>{64, 1, 128, 0, 128, 1, 64, 0, 64, 1, 32, 0});
  CHECK(average == run(Device::Kind::cpu).first);
}

}  // namespace tern::testing
