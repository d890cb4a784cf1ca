// Shapes, addresses and sizes that send elementwise ops and data movers through each of their CUDA kernels: the op table
// has small tensors, which mostly take the scalar ones. Skipped without a GPU; the emulation runs them on its device.
#include <cmath>
#include <functional>

#include "core/basic_ops.h"
#include "core/rng.h"
#include "kernels/dropout/dropout.h"
#include "kernels/flatten_into/flatten_into.h"
#include "kernels/normalize_images/normalize_images.h"
#include "kernels/ops.h"
#include "tests/catch.h"
#include "tests/cuda_util.h"
#include "tests/op_tensors.h"

namespace tern::testing {
namespace {

constexpr DType kFloats[] = {DType::f32, DType::f64, DType::f16, DType::bf16};
constexpr DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i64, DType::i32, DType::u8};

/// Makes tensors of random values, the same on both devices.
class Maker {
 public:
  explicit Maker(Device::Kind kind) : host_(test::on(Device::Kind::cpu)), context_(test::on(kind)) {}
  Context& context() { return context_; }
  Tensor operator()(const Shape& shape, DType dtype, double low = -2, double high = 2) {
    const Tensor values = Tensor::empty(host_, shape, dtype);
    ++made_;
    for (int64_t i = 0; i < values.numel(); ++i) {
      const double share = uniform01(random4({.seed = made_, .sample = static_cast<uint64_t>(i)}).v[0]);
      const double value = low + share * (high - low);
      set_value(values, i, is_floating(dtype) ? value : std::floor(value));
    }
    return on_device(values);
  }
  /// The same as a view that begins one row of `shape` into a larger tensor.
  Tensor view(const Shape& shape, DType dtype) {
    return slice((*this)(shape.with(0, shape[0] + 1), dtype), 0, 1, shape[0] + 1);
  }
  Tensor indices(int64_t count, int64_t extent) {
    return (*this)(Shape{count}, DType::i64, 0, static_cast<double>(extent));
  }

 private:
  Tensor on_device(const Tensor& values) {
    Tensor result = Tensor::empty(context_, values.shape(), values.dtype());
    result.write_bytes(values.raw());
    return result;
  }
  Context host_, context_;
  uint64_t made_ = 0;
};

using Run = std::function<Tensors(Maker&)>;

std::vector<std::vector<std::byte>> bytes_on(Device::Kind kind, const Run& run) {
  Maker maker(kind);
  std::vector<std::vector<std::byte>> result;
  for (const Tensor& tensor : run(maker)) {
    result.emplace_back(tensor.bytes());
    tensor.read_bytes(result.back().data());
  }
  return result;
}

void check_same_bytes(const Run& run) { CHECK(bytes_on(Device::Kind::cuda, run) == bytes_on(Device::Kind::cpu, run)); }

void check_close(const Run& run, double tolerance) {
  Maker cuda(Device::Kind::cuda), cpu(Device::Kind::cpu);
  const std::vector<Array> got = arrays_of(run(cuda)), want = arrays_of(run(cpu));
  REQUIRE(got.size() == want.size());
  for (size_t k = 0; k < got.size(); ++k) {
    REQUIRE(got[k].values.size() == want[k].values.size());
    double worst = 0, largest = 1e-3;
    for (size_t i = 0; i < got[k].values.size(); ++i) {
      if (!std::isfinite(want[k].values[i])) {
        CHECK(std::isnan(got[k].values[i]) == std::isnan(want[k].values[i]));
        continue;
      }
      largest = std::max(largest, std::abs(want[k].values[i]));
      const double error = std::abs(got[k].values[i] - want[k].values[i]);
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
    INFO("result " << k);
    CHECK(worst / largest <= tolerance);
  }
}

double tolerance_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return 1e-14;
    case DType::f32: return 1e-6;
    case DType::f16: return 1e-3;
    default: return 8e-3;
  }
}

struct Operands {
  const char* what;
  Shape a, b;
};

}  // namespace

TEST_CASE("cuda: two operands in every way of broadcasting", "[cuda][elementwise]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  const std::vector<Operands> rows{
      {"dense, a tail", {3, 1031}, {3, 1031}},    {"a number", {7, 333}, {1}},
      {"a number first", {1, 1}, {40, 16}},       {"bias of whole runs", {5, 9, 48}, {48}},
      {"bias of broken runs", {5, 9, 13}, {13}},  {"one number a row", {37, 64}, {37, 1}},
      {"a middle axis", {3, 5, 32}, {3, 1, 32}},  {"both are repeated", {6, 1, 16}, {1, 7, 16}},
      {"outer product", {70, 1}, {1, 24}},        {"three axes left", {4, 1, 3, 8}, {4, 5, 1, 8}},
  };
  for (const Operands& row : rows) {
    INFO(row.what);
    for (DType dtype : kAll) {
      INFO(name_of(dtype));
      check_same_bytes([&](Maker& make) { return Tensors{add(make(row.a, dtype), make(row.b, dtype))}; });
    }
    check_same_bytes([&](Maker& make) {
      return Tensors{where(make(row.b, DType::u8, 0, 2), make(row.a, DType::f16), make({1}, DType::f16)),
                     broadcast_to(make(row.b, DType::u8, 0, 9), broadcast(row.a, row.b, "test"))};
    });
  }
  for (DType dtype : kAll) {
    INFO(name_of(dtype) << ", views that are not aligned");
    check_same_bytes([&](Maker& make) { return Tensors{mul(make.view({1501}, dtype), make({1501}, dtype))}; });
  }
}

TEST_CASE("cuda: every formula in runs and one by one", "[cuda][elementwise]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  for (DType dtype : kFloats) {
    INFO(name_of(dtype));
    for (const Shape& shape : {Shape{16 * 1024 + 3}, Shape{3}}) {
      check_close([&](Maker& make) {
        const Tensor x = make(shape, dtype, -6, 6), y = make(shape, dtype, 0.5, 3), g = make(shape, dtype);
        return Tensors{relu(x), neg(x), abs(x), exp(x), log(y), sqrt(y), rsqrt(y), tanh(x), sigmoid(x), silu(x), gelu(x),
                       gelu(x, {.approximate = Gelu::tanh}), clamp(x, {.low = -1, .high = 2}), gelu_backward(g, x),
                       gelu_backward(g, x, {.approximate = Gelu::tanh}), silu_backward(g, x), sigmoid_backward(g, y),
                       tanh_backward(g, y), relu_backward(g, x), maximum(x, g), minimum(x, g), sub(x, g), div(x, y),
                       pow(y, g), pow(y, 2.5), pow(x, 2), add(x, 0.3), mul(x, 0.3), sub(2.0, x), div(x, 3.0), div(3.0, y)};
      }, tolerance_of(dtype));
    }
  }
}

TEST_CASE("cuda: infinities, NaN and signed zeros as on the CPU", "[cuda][elementwise]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  const std::vector<float> special{-INFINITY, INFINITY, NAN, -0.0f, 0.0f, -100, 100, 1e-42f, 3e38f};
  const auto run = [&](Maker& make) {
    const Tensor x = Tensor::from(make.context(), {9}, special);
    const Tensor one = Tensor::full(make.context(), {9}, 1);
    return Tensors{relu(x), abs(x), exp(x), log(x), tanh(x), sigmoid(x), silu(x), gelu(x), gelu(x, {.approximate = Gelu::tanh}),
                   silu_backward(one, x), gelu_backward(one, x), gelu_backward(one, x, {.approximate = Gelu::tanh}),
                   maximum(x, one), minimum(one, x), clamp(x, {.low = -1, .high = 1}), cast(x, DType::i32), cast(x, DType::u8)};
  };
  check_close(run, 1e-6);
}

TEST_CASE("cuda: cast between all types", "[cuda][elementwise]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  for (DType from : kAll)
    for (DType to : kAll) {
      INFO(name_of(from) << " to " << name_of(to));
      check_same_bytes([&](Maker& make) {
        return Tensors{cast(make({1037}, from, is_floating(from) ? -300 : 0, 300), to), cast(make.view({35}, from), to)};
      });
    }
}

TEST_CASE("cuda: fill, copy and accumulate", "[cuda][elementwise]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  for (DType dtype : kAll) {
    INFO(name_of(dtype));
    check_same_bytes([&](Maker& make) {
      const Tensor sum = make({1003}, dtype), copy = Tensor::full(make.context(), {1003}, 3, dtype);
      accumulate_into(sum, make({1003}, dtype));
      accumulate_into(sum, make.view({1003}, dtype));
      copy.copy_from(sum);
      return Tensors{sum, copy, Tensor::full(make.context(), {517}, 2.5, dtype), Tensor::zeros(make.context(), {33}, dtype)};
    });
  }
}

TEST_CASE("cuda: movers in units of every size", "[cuda][movers]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  for (DType dtype : {DType::u8, DType::bf16, DType::f32, DType::i64})
    for (int64_t inner : {1, 3, 4, 16}) {
      INFO(name_of(dtype) << ", " << inner << " elements in the last axis");
      check_same_bytes([&](Maker& make) {
        const Tensor x = make({5, 7, inner}, dtype), view = make.view({5, 7, inner}, dtype);
        const Tensor parts[] = {x, view, make({5, 2, inner}, dtype)};
        Tensors out{slice(x, 1, 2, 6), slice(view, 2, inner / 2, inner), concat(parts, 1), flip(x, {1}), flip(view, {2}),
                    pad(x, {.before = {0, 2, 1}, .after = {1, 3, 0}}), gather(x, make.indices(9, 5), 0),
                    gather(view, make.indices(4, 7), 1), gather(x, make.indices(6, inner), 2)};
        out.push_back(pad(x, {.before = {0, 3, 0}, .after = {2, 6, 0}, .mode = PadMode::reflect}));
        return out;
      });
    }
}

TEST_CASE("cuda: gradients of gather and of reflected borders", "[cuda][movers]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  for (DType dtype : kFloats) {
    INFO(name_of(dtype));
    check_same_bytes([&](Maker& make) {
      Tensor x = make({4, 9, 5}, dtype);
      x.set_requires_grad();
      const Tensor y = pad(x, {.before = {0, 8, 0}, .after = {0, 3, 2}, .mode = PadMode::reflect});
      y.backward(make(y.shape(), dtype));
      return Tensors{x.grad(), scatter_add(make({50, 6}, dtype), make.indices(50, 7), 7, 0),
                     scatter_add(make({3, 20, 4}, dtype), make.indices(20, 11), 11, 1)};
    });
  }
}

TEST_CASE("cuda: permutations in tiles, rows and elements", "[cuda][movers]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  struct Row {
    Shape shape;
    std::vector<int> axes;
  };
  const std::vector<Row> rows{{{65, 130}, {1, 0}},          {{2, 5, 7, 40}, {0, 3, 1, 2}},  {{2, 40, 5, 7}, {0, 2, 3, 1}},
                              {{2, 5, 7, 3}, {0, 3, 1, 2}}, {{3, 4, 5, 16}, {2, 0, 1, 3}},  {{3, 4, 5, 6}, {3, 2, 1, 0}},
                              {{20, 3, 14, 2, 33}, {4, 1, 3, 0, 2}}, {{1, 1}, {1, 0}},       {{6, 1, 10}, {2, 1, 0}}};
  for (const Row& row : rows)
    for (DType dtype : {DType::u8, DType::f16, DType::f32, DType::f64}) {
      INFO(row.shape.str() << ", " << name_of(dtype));
      check_same_bytes([&](Maker& make) { return Tensors{permute(make(row.shape, dtype, 0, 200), row.axes)}; });
    }
}

TEST_CASE("cuda: images are normalised to the CPU's bits", "[cuda][movers]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  for (DType dtype : kFloats)
    for (const Shape& shape : {Shape{2, 4, 8, 3}, Shape{3, 5, 7, 3}, Shape{1, 9, 5, 1}, Shape{2, 8, 8, 1}, Shape{1, 4, 8, 4},
                               Shape{1, 2, 3, 200}}) {
      INFO(shape.str() << " to " << name_of(dtype));
      NormalizeImages options{.mean = {}, .std = {}, .dtype = dtype};
      for (int64_t c = 0; c < shape[3]; ++c) {
        options.mean.push_back(0.4 + 0.001 * static_cast<double>(c));
        options.std.push_back(0.2 + 0.003 * static_cast<double>(c));
      }
      check_same_bytes([&](Maker& make) { return Tensors{normalize_images(make(shape, DType::u8, 0, 256), options)}; });
    }
}

TEST_CASE("cuda: dropout draws the CPU's mask", "[cuda][movers]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  for (DType dtype : kFloats)
    for (const Shape& shape : {Shape{6, 128}, Shape{5, 7, 3}, Shape{2, 2050}}) {
      INFO(shape.str() << ", " << name_of(dtype));
      check_same_bytes([&](Maker& make) {
        Tensor x = make(shape, dtype);
        x.set_requires_grad();
        make.context().set_rng_key(77, 5);
        const Tensor by_row = dropout(x, {.p = 0.3, .layer = 2});
        std::vector<int64_t> samples{3, int64_t{1} << 40, 5, -1, 9, 0};
        samples.resize(static_cast<size_t>(shape[0]));
        make.context().set_rng_samples(Tensor::from(make.context(), {shape[0]}, samples));
        const Tensor by_sample = dropout(x, {.p = 0.5});
        make.context().set_rng_key(77, 6);  // gradients draw with the key of their forward pass
        by_sample.backward(make(shape, dtype));
        return Tensors{by_row, by_sample, x.grad()};
      });
    }
}

TEST_CASE("cuda: tensors of all sizes and floating types are laid flat", "[cuda][movers]") {
  if (const std::string why = test::no_gpu(); !why.empty()) SKIP(why);
  check_same_bytes([](Maker& make) {
    const Tensor arena = make({150000}, DType::f32);
    Tensors tensors;
    std::vector<int64_t> offsets;
    int64_t at = 3;
    for (int64_t i = 0; i < 260; ++i) {
      tensors.push_back(make({i % 50 == 7 ? 8195 + i : i % 37 + 1}, kFloats[i % 4]));
      offsets.push_back(at);
      at += tensors.back().numel() + (i % 3 == 0 ? 1 : 0);
      if (i % 2 == 0) at = (at + 3) / 4 * 4;
    }
    REQUIRE(at < arena.numel());
    flatten_into(arena, tensors, offsets);
    return Tensors{arena};
  });
}

}  // namespace tern::testing
