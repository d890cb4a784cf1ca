#include "kernels/conv2d/conv2d.h"

#include <hwy/targets.h>

#include <cstring>

#include "core/error.h"
#include "core/lanes.h"
#include "tests/catch.h"

namespace tern {
namespace {

using Floats = std::vector<float>;

Floats noise(int64_t count, uint32_t seed) {
  Floats values(static_cast<size_t>(count));
  for (float& v : values) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(seed >> 8) * 0x1p-23f - 1;
  }
  return values;
}

/// A convolution with its data: 3x3, more channels than a register block, odd extents. By Winograd's algorithm where nothing is changed.
struct Case {
  Conv2d options{.stride = 1, .padding = 1};
  int64_t n = 10, h = 11, w = 9, c = 29, k = 37;
  Floats x = noise(n * h * w * c, 1), filters = noise(k * 9 * c / options.groups, 2), bias = noise(k, 3);
};

struct Results {
  Floats y, dx, dw;
  bool operator==(const Results& other) const {  // bits, so that -0 and NaN count
    const auto same = [](const Floats& a, const Floats& b) {
      return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    return same(y, other.y) && same(dx, other.dx) && same(dw, other.dw);
  }
};

/// All three passes over the pictures [begin, end).
Results run(const Case& t, int threads, int64_t lane_size, int64_t begin, int64_t end) {
  Context context({.threads = threads, .poison = true});
  context.set_lane_size(lane_size);
  const int64_t picture = t.h * t.w * t.c;
  const Tensor x = Tensor::from(
      context, {end - begin, t.h, t.w, t.c},
      std::span(t.x).subspan(static_cast<size_t>(begin * picture), static_cast<size_t>((end - begin) * picture)));
  const Tensor w = Tensor::from(context, {t.k, 3, 3, t.c / t.options.groups}, t.filters);
  const Tensor y = conv2d(x, w, Tensor::from(context, {t.k}, t.bias), t.options);
  const Tensor dx = conv2d_dgrad(y, w, {t.h, t.w}, t.options);  // y serves as its own dy
  return {y.to_vector<float>(), dx.to_vector<float>(), conv2d_wgrad(x, y, 3, t.options).to_vector<float>()};
}
Results run(const Case& t, int threads = 2, int64_t lane_size = 0) { return run(t, threads, lane_size, 0, t.n); }

std::vector<Case> cases() {
  return {Case{}, Case{.options = {.stride = 2, .padding = {0, 2}}}, Case{.options = {.padding = 2, .dilation = 2}},
          Case{.options = {.padding = 1, .groups = 2}, .c = 6, .k = 10}, Case{.options = {.padding = 1}, .h = 17, .c = 7, .k = 101},
          Case{.options = {.padding = 1}, .c = 7, .k = 5}};
}

Floats part(const Floats& values, int64_t i, int64_t parts) {
  const auto size = static_cast<std::ptrdiff_t>(values.size()) / parts;
  return {values.begin() + i * size, values.begin() + (i + 1) * size};
}

}  // namespace

TEST_CASE("conv2d: the number of threads does not change a bit", "[conv2d]") {
  for (const Case& t : cases())
    for (int64_t lane_size : {0, 3}) {
      const Results wanted = run(t, 1, lane_size);
      for (int threads : {2, 3, 5}) CHECK(run(t, threads, lane_size) == wanted);
    }
}

TEST_CASE("conv2d: a picture has the same bits alone and in a batch", "[conv2d]") {
  for (const Case& t : cases()) {
    const Results batch = run(t);
    for (int64_t i : {int64_t{0}, t.n - 1}) {
      const Results alone = run(t, 2, 0, i, i + 1);
      CHECK(alone.y == part(batch.y, i, t.n));
      CHECK(alone.dx == part(batch.dx, i, t.n));
    }
  }
}

TEST_CASE("conv2d_wgrad: a folded batch is the tree sum of its lanes, bitwise", "[conv2d]") {
  for (const Case& t : cases()) {
    const int64_t m = 3, lanes = 4;  // the last lane has one picture
    Floats sums;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const Floats dw = run(t, 2, 0, lane * m, std::min(t.n, (lane + 1) * m)).dw;
      sums.insert(sums.end(), dw.begin(), dw.end());
    }
    const auto size = static_cast<int64_t>(sums.size()) / lanes;
    tree_sum(sums.data(), lanes, size, size);
    CHECK(run(t, 2, m).dw == part(sums, 0, lanes));
  }
}

TEST_CASE("conv2d: every vector width gives the same bits", "[conv2d]") {
  for (const Case& t : cases()) {
    const Results wanted = run(t);
    for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
      INFO(hwy::TargetName(target));
      hwy::GetChosenTarget().Update(target);
      const Results got = run(t);
      hwy::GetChosenTarget().DeInit();
      CHECK(got == wanted);
    }
  }
}

TEST_CASE("conv2d: errors name the op, what was got and what was wanted", "[conv2d]") {
  Context context;
  const auto zeros = [&](const Shape& shape, DType dtype = DType::f32) { return Tensor::zeros(context, shape, dtype); };
  const Tensor x = zeros({2, 8, 8, 16}), w = zeros({4, 3, 3, 16});
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(message([&] { conv2d(x, zeros({4, 3, 3, 3})); }) == "[conv2d] w has C=3 but x has C=16");
  CHECK(message([&] { conv2d(x, w, {.groups = 2}); }) == "[conv2d] w has C=16 in each of 2 groups but x has C=16");
  CHECK(message([&] {
          conv2d(x, zeros({5, 3, 3, 8}), {.groups = 2});
        }) == "[conv2d] w has K=5, wants a multiple of groups=2");
  CHECK(message([&] { conv2d(x, w, zeros({3})); }) == "[conv2d] bias is [3] but w has K=4");
  CHECK(message([&] { conv2d(zeros({2, 8, 16}), w); }) == "[conv2d] x is [2, 8, 16], wants [N,H,W,C]");
  CHECK(message([&] {
          conv2d(zeros({2, 1, 8, 16}), w);
        }) == "[conv2d] the filter covers 3 pixels of H but x has 1 and padding 0 on each side");
  CHECK(message([&] { conv2d(x, w, {.stride = 0}); }) == "[conv2d] stride.h=0, wants at least 1");
  CHECK(message([&] {
          conv2d_dgrad(zeros({2, 5, 6, 4}), w, 8);
        }) == "[conv2d_dgrad] dy is [2, 5, 6, 4], wants [2, 6, 6, 4]");
  CHECK(message([&] {
          conv2d_wgrad(x, zeros({2, 5, 6, 4}), 3);
        }) == "[conv2d_wgrad] dy is [2, 5, 6, 4], wants [2, 6, 6, 4]");
  CHECK_THROWS_AS(conv2d(x, zeros({4, 3, 3, 16}, DType::f64)), DTypeError);
  CHECK_THROWS_AS(conv2d(zeros({2, 8, 8, 16}, DType::i32), zeros({4, 3, 3, 16}, DType::i32)), DTypeError);
  CHECK_THROWS_AS(conv2d(x, w, {.stride = 0}), ConfigError);
}

}  // namespace tern
