#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

#include "core/error.h"
#include "core/plan.h"
#include "kernels/adamw/adamw.h"
#include "kernels/add/add.h"
#include "kernels/clip_coefficient/clip_coefficient.h"
#include "kernels/ema/ema.h"
#include "kernels/flatten_into/flatten_into.h"
#include "kernels/flatten_into/flatten_then.h"
#include "kernels/global_norm/global_norm.h"
#include "kernels/loss_scale/loss_scale.h"
#include "kernels/mul/mul.h"
#include "kernels/sgd/sgd.h"
#include "tests/catch.h"

namespace tern {
namespace {

constexpr int64_t kCount = 37, kSplit = 20;

Context::Options with_threads(int threads) {
  Context::Options options;
  options.threads = threads;
  options.poison = true;
  return options;
}

/// tests/fixtures/make_optim.py has the same formula.
float value(int64_t i, int64_t t) { return static_cast<float>((i * 7919 + t * 104729) % 2003 - 1001) / 1024; }

std::vector<float> values(int64_t count, int64_t t) {
  std::vector<float> result;
  for (int64_t i = 0; i < count; ++i) result.push_back(value(i, t));
  return result;
}

std::map<std::string, std::vector<float>> fixture() {
  std::ifstream file(std::string(TERN_FIXTURES) + "/optim.txt");
  std::map<std::string, std::vector<float>> result;
  for (std::string line, name; std::getline(file, line);) {
    std::istringstream words(line);
    words >> name;
    for (float x; words >> x;) result[name].push_back(x);
  }
  return result;
}

/// Everything a step of any optimizer reads or writes.
struct State {
  State(Context& context, int64_t count)
      : master(Tensor::from(context, {count}, values(count, 0))),
        m(Tensor::zeros(context, {count})),
        v(Tensor::zeros(context, {count})),
        step(Tensor::zeros(context, {1}, DType::f64)),
        grads(Tensor::zeros(context, {count})),
        lr(Tensor::zeros(context, {2}, DType::f64)),
        one(Tensor::full(context, {1}, 1)),
        zero(Tensor::zeros(context, {1})) {}

  void set_step(int64_t t) {
    for (int64_t i = 0; i < grads.numel(); ++i) grads.data<float>()[i] = value(i, t);
    lr.data<double>()[0] = 0.01 * static_cast<double>(1 + t % 5);
    lr.data<double>()[1] = 0.003 * static_cast<double>(1 + t % 4);
  }
  AdamWState adamw_state(const Tensor& scale, const Tensor& flag) const { return {master, m, v, step, grads, lr, scale, flag}; }
  SgdState sgd_state(const Tensor& scale, const Tensor& flag) const { return {master, m, grads, lr, scale, flag}; }

  Tensor master, m, v, step, grads, lr, one, zero;
};

std::vector<UpdateSegment> segments(int64_t count) { return {{0, kSplit, 0, 0.05}, {kSplit, count, 1, 0.0}}; }

void run_step(const std::string& name, const State& state, const Tensor& scale, const Tensor& flag) {
  const int64_t count = state.master.numel();
  if (name == "adamw")
    adamw(state.adamw_state(scale, flag), {.beta1 = 0.9, .beta2 = 0.99, .segments = segments(count)});
  else
    sgd(state.sgd_state(scale, flag),
        {.momentum = name == "sgd" ? 0 : 0.9, .nesterov = name == "nesterov", .segments = segments(count)});
}

bool same_bits(const Tensor& a, const Tensor& b) { return a.spec() == b.spec() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0; }

}  // namespace

TEST_CASE("adamw, sgd: 20 clipped steps with two groups follow PyTorch's", "[optim]") {
  const auto wanted = fixture();
  const std::string name = GENERATE("adamw", "sgd", "momentum", "nesterov");
  REQUIRE(wanted.at(name).size() == 4 * kCount);
  Context context(with_threads(2));
  State state(context, kCount);
  size_t at = 0;
  for (int64_t t = 1; t <= 20; ++t) {
    state.set_step(t);
    const auto [norm, found_inf] = global_norm(state.grads);
    run_step(name, state, clip_coefficient(norm, state.one, {.max_norm = 1.5 + static_cast<double>(t % 3)}), found_inf);
    if (t != 1 && t != 5 && t != 10 && t != 20) continue;
    double worst = 0;
    for (int64_t i = 0; i < kCount; ++i)
      worst = std::max(worst, std::abs(static_cast<double>(state.master.data<float>()[i]) - static_cast<double>(wanted.at(name)[at++])));
    INFO(name << " step " << t << ": " << worst);
    CHECK(worst < 5e-7);
  }
}

TEST_CASE("adamw, sgd: averages of gradients that have become 0 end at 0 and are never denormal", "[optim]") {
  const std::string name = GENERATE("adamw", "momentum");
  Context context(with_threads(1));
  State state(context, kCount);
  for (int64_t t = 1; t <= 400; ++t) {
    for (int64_t i = 0; i < kCount; ++i) state.grads.data<float>()[i] = t == 1 ? static_cast<float>(i % 2 == 0 ? i : -i) * 1e-30F : 0.0F;
    if (name == "adamw")
      adamw(state.adamw_state(state.one, state.zero), {.segments = {{0, kCount, 0, 0.0}}});
    else
      sgd(state.sgd_state(state.one, state.zero), {.momentum = 0.9, .segments = {{0, kCount, 0, 0.0}}});
    for (int64_t i = 0; i < kCount; ++i) {
      REQUIRE(std::fpclassify(state.m.data<float>()[i]) != FP_SUBNORMAL);
      REQUIRE(std::fpclassify(state.v.data<float>()[i]) != FP_SUBNORMAL);
      if (t == 100 && i > 0) REQUIRE(state.m.data<float>()[i] != 0);
      if (t == 400) REQUIRE(state.m.data<float>()[i] == 0);
    }
  }
}

TEST_CASE("adamw, sgd: a replayed step sees new rates, scales and flags, and gives the eager bits", "[optim][plan]") {
  const std::string name = GENERATE("adamw", "sgd", "nesterov");
  Context context(with_threads(2));
  State eager(context, 100), planned(context, 100);
  auto step_of = [&](const State& state) {
    return [&](std::span<const Tensor>) {
      const auto [norm, found_inf] = global_norm(state.grads);
      run_step(name, state, clip_coefficient(norm, state.one, {.max_norm = 1}), found_inf);
      return std::vector{norm};
    };
  };
  CompiledStep step = compile(context, step_of(planned));
  for (int64_t t = 1; t <= 6; ++t) {
    eager.set_step(t);
    planned.set_step(t);
    if (t == 4) eager.grads.data<float>()[70] = planned.grads.data<float>()[70] = std::numeric_limits<float>::infinity();
    step_of(eager)({});
    step({});
    INFO("step " << t);
    CHECK(same_bits(eager.master, planned.master));
    CHECK(same_bits(eager.v, planned.v));
  }
  if (name == "adamw") CHECK(planned.step.item() == 5);  // the skipped step is not counted
  CHECK(std::isfinite(planned.master.data<float>()[70]));
}

TEST_CASE("adamw, sgd: an element's bits depend neither on its place nor on threads", "[optim]") {
  const std::string name = GENERATE("adamw", "nesterov");
  const int64_t count = 40000, offset = 13;
  Context one(with_threads(1)), three(with_threads(3));
  State a(one, count), b(three, count), shifted(three, count);
  for (int64_t i = count - 1; i >= offset; --i) shifted.master.data<float>()[i] = shifted.master.data<float>()[i - offset];
  for (int64_t t = 1; t <= 3; ++t) {
    for (State* state : {&a, &b, &shifted}) state->set_step(t);
    for (int64_t i = count - 1; i >= offset; --i) shifted.grads.data<float>()[i] = shifted.grads.data<float>()[i - offset];
    run_step(name, a, a.one, a.zero);
    run_step(name, b, b.one, b.zero);
    const AdamW shifted_adamw{.beta1 = 0.9, .beta2 = 0.99, .segments = {{offset, kSplit + offset, 0, 0.05}, {kSplit + offset, count, 1, 0.0}}};
    if (name == "adamw")
      adamw(shifted.adamw_state(shifted.one, shifted.zero), shifted_adamw);
    else
      sgd(shifted.sgd_state(shifted.one, shifted.zero), {.momentum = 0.9, .nesterov = true, .segments = shifted_adamw.segments});
  }
  CHECK(same_bits(a.master, b.master));
  CHECK(same_bits(a.m, b.m));
  CHECK(std::memcmp(a.master.raw(), shifted.master.data<float>() + offset, (count - offset) * sizeof(float)) == 0);
  CHECK(shifted.master.data<float>()[0] == value(0, 0));  // outside every segment
}

TEST_CASE("global_norm: in f64, the same on any threads, and it sees every NaN and infinity", "[optim]") {
  const int64_t count = 50001;
  Context one(with_threads(1)), three(with_threads(3));
  const std::vector<float> x = values(count, 3);
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  const GlobalNorm a = global_norm(Tensor::from(one, {count}, x)), b = global_norm(Tensor::from(three, {count}, x));
  CHECK(a.norm.item() == Approx(std::sqrt(sum)).epsilon(1e-7));
  CHECK(same_bits(a.norm, b.norm));
  CHECK(a.found_inf.item() == 0);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()})
    for (int64_t i : {int64_t{0}, int64_t{8191}, count - 1}) {
      Tensor tensor = Tensor::from(one, {count}, x);
      tensor.data<float>()[i] = bad;
      CHECK(global_norm(tensor).found_inf.item() == 1);
    }
  CHECK(global_norm(Tensor::full(one, {4}, 3e38)).found_inf.item() == 0);
}

TEST_CASE("clip_coefficient: PyTorch's formula on scaled gradients", "[optim]") {
  Context context(with_threads(1));
  auto coefficient = [&](double norm, double scale) {
    return clip_coefficient(Tensor::full(context, {1}, norm), Tensor::full(context, {1}, scale), {.max_norm = 2}).item();
  };
  CHECK(coefficient(1.5, 1) == 1);
  CHECK(coefficient(8, 1) == Approx(2 / (8 + 1e-6)));
  CHECK(coefficient(8, 0.125) == 0.125);
  CHECK(coefficient(32, 0.125) == Approx(0.125 * 2 / (4 + 1e-6)));
  CHECK(std::isnan(coefficient(std::nan(""), 1)));
}

TEST_CASE("adamw, sgd: the 16-bit copy is the updated master rounded, and a skipped step leaves it", "[optim]") {
  const std::string name = GENERATE("adamw", "sgd", "nesterov");
  const DType dtype = GENERATE(DType::f16, DType::bf16);
  Context context(with_threads(2));
  const int64_t count = 20001;
  State plain(context, count), copied(context, count);
  const Tensor weights = Tensor::full(context, {count}, 7, dtype);
  auto step = [&](const Tensor& flag) {
    if (name == "adamw") {
      AdamWState state = copied.adamw_state(copied.one, flag);
      state.weights = weights;
      adamw(state, {.beta1 = 0.9, .beta2 = 0.99, .segments = segments(count - 1)});
    } else {
      SgdState state = copied.sgd_state(copied.one, flag);
      state.weights = weights;
      sgd(state, {.momentum = name == "sgd" ? 0 : 0.9, .nesterov = name == "nesterov", .segments = segments(count - 1)});
    }
  };
  auto widened = [&](int64_t i) {
    return dtype == DType::f16 ? static_cast<float>(weights.data<Half>()[i]) : static_cast<float>(weights.data<BFloat16>()[i]);
  };
  copied.set_step(1);
  step(copied.one);
  CHECK(widened(3) == 7);
  step(copied.zero);
  plain.set_step(1);
  run_step(name, plain, plain.one, plain.zero);
  for (int64_t i = 0; i < count - 1; ++i) {
    const float master = copied.master.data<float>()[i];
    const float rounded = dtype == DType::f16 ? static_cast<float>(Half(master)) : static_cast<float>(BFloat16(master));
    if (master != plain.master.data<float>()[i] || widened(i) != rounded) FAIL("element " << i);
  }
  CHECK(widened(count - 1) == 7);  // outside every segment
}

TEST_CASE("loss_scale: grows and backs off as torch.amp.GradScaler, within its limits", "[optim]") {
  Context context(with_threads(1));
  const Tensor scale = Tensor::full(context, {1}, 1024), steps = Tensor::zeros(context, {1}, DType::i64);
  const LossScale options{.growth_interval = 3, .min_scale = 256, .max_scale = 3000};
  auto after = [&](double found_inf) {
    loss_scale_update(scale, steps, Tensor::full(context, {1}, found_inf), options);
    return std::pair(scale.item(), steps.item());
  };
  CHECK(after(0) == std::pair(1024.0, 1.0));
  CHECK(after(0) == std::pair(1024.0, 2.0));
  CHECK(after(0) == std::pair(2048.0, 0.0));
  CHECK(after(0) == std::pair(2048.0, 1.0));
  CHECK(after(1) == std::pair(1024.0, 0.0));
  CHECK(after(1) == std::pair(512.0, 0.0));
  CHECK(after(std::nan("")) == std::pair(256.0, 0.0));
  CHECK(after(1) == std::pair(256.0, 0.0));
  for (int i = 0; i < 12; ++i) after(0);
  CHECK(after(0) == std::pair(3000.0, 1.0));
  CHECK_THROWS_AS(loss_scale_update(scale, scale, scale), ShapeError);
  CHECK_THROWS_AS(loss_scale_update(scale, steps, scale, {.growth = 0.5}), ConfigError);
}

TEST_CASE("ema: moves the average by its decay", "[optim]") {
  Context context(with_threads(2));
  const Tensor average = Tensor::from(context, {3}, std::vector<float>{1, 2, 4});
  const Tensor x = Tensor::from(context, {3}, std::vector<float>{0, 2, 8});
  ema(average, x, Tensor::full(context, {1}, 0.75, DType::f64));
  CHECK(average.to_vector<float>() == std::vector<float>{0.75f, 2, 5});
}

TEST_CASE("flatten_into: tensors land at their offsets, gaps keep their values", "[optim]") {
  Context context(with_threads(2));
  const Tensor arena = Tensor::full(context, {12}, -1);
  const Tensor a = Tensor::from(context, {2, 2}, std::vector<float>{1, 2, 3, 4});
  const Tensor b = Tensor::full(context, {3}, 1.5, DType::bf16);
  const std::vector<int64_t> offsets{6, 1};
  flatten_into(arena, std::vector{a, b}, offsets);
  CHECK(arena.to_vector<float>() == std::vector<float>{-1, 1.5f, 1.5f, 1.5f, -1, -1, 1, 2, 3, 4, -1, -1});
  CHECK_THROWS_WITH(flatten_into(arena, std::vector{a, b}, std::vector<int64_t>{6, 10}),
                    "[flatten_into] tensor 1, bf16[3], does not fit into f32[12] at 10");
}

TEST_CASE("flatten_then: calls back each time when the copies are made, in a plan's replays too", "[optim]") {
  Context context(with_threads(2));
  const Tensor arena = Tensor::zeros(context, {4});
  std::vector<std::vector<float>> seen;
  CompiledStep step = compile(context, [&](std::span<const Tensor> in) {
    const Tensor y = mul(in[0], in[0]);
    flatten_then(arena, std::vector{y}, std::vector<int64_t>{2}, [&] { seen.emplace_back(arena.data<float>(), arena.data<float>() + 4); });
    return std::vector<Tensor>{add(y, y)};
  });
  for (const float value : {1.0f, 2.0f, 3.0f}) step({Tensor::full(context, {2}, value)});
  CHECK(seen == std::vector<std::vector<float>>{{0, 0, 1, 1}, {0, 0, 4, 4}, {0, 0, 9, 9}});
}

TEST_CASE("optimizer ops refuse tensors and segments that do not fit", "[optim]") {
  Context context(with_threads(1));
  State state(context, kCount);
  CHECK_THROWS_WITH(sgd(state.sgd_state(state.one, state.zero), {.segments = {{0, 38}}}), "[sgd] segment 0..38 is outside f32[37]");
  CHECK_THROWS_AS(sgd(state.sgd_state(state.one, state.zero), {.segments = {{0, 3, 2}}}), ShapeError);
  CHECK_THROWS_AS(sgd(state.sgd_state(state.one, state.zero), {.nesterov = true, .segments = {}}), ConfigError);
  SgdState with_weights = state.sgd_state(state.one, state.zero);
  with_weights.weights = Tensor::zeros(context, {kCount});
  CHECK_THROWS_WITH(sgd(with_weights, {}), "[sgd] weights are f32[37], wants f16 or bf16 of master's shape [37]");
  state.v = Tensor::zeros(context, {5});
  CHECK_THROWS_AS(adamw(state.adamw_state(state.one, state.zero), {}), ShapeError);
}

}  // namespace tern
