#include "core/basic_ops.h"

#include <algorithm>
#include <cstring>

#include "core/autograd.h"
#include "core/thread_pool.h"

namespace tern {
namespace {

// Large copies and sums are cut into pieces for the pool; elements are independent, so the cut cannot change bits.
constexpr int64_t kChunk = 1 << 16;

template <class Body>
void for_chunks(Context& context, int64_t count, const Body& body) {
  if (count <= kChunk) return body(int64_t{0}, count);
  context.pool().parallel_for((count + kChunk - 1) / kChunk,
                              [&](int64_t i) { body(i * kChunk, std::min(count, (i + 1) * kChunk)); });
}

template <class T>
T plus(T a, T b) {
  if constexpr (sizeof(T) == 2)
    return T(static_cast<float>(a) + static_cast<float>(b));
  else
    return static_cast<T>(a + b);
}

void require_equal(std::string_view op, std::span<const Spec> in) {
  if (in[0] != in[1]) throw_shape(op, "got " + in[0].str() + " and " + in[1].str() + ", wants two of one spec");
}

}  // namespace

void Fill::run_cpu(Launch& launch) const {
  dispatch_all(spec_.dtype, [&](auto t) {
    using T = decltype(t);
    T value;
    if constexpr (sizeof(T) == 2)
      value = T(static_cast<float>(value_));
    else
      value = static_cast<T>(value_);
    T* out = launch.out[0].data<T>();
    for_chunks(launch.context, spec_.numel(), [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, value); });
  });
}

std::vector<Spec> CopyInto::infer(std::span<const Spec> in) const {
  require_equal(name(), in);
  return {in[0]};
}

void CopyInto::run_cpu(Launch& launch) const {
  auto* to = static_cast<std::byte*>(launch.out[0].raw());
  const auto* from = static_cast<const std::byte*>(launch.in[1].raw());
  for_chunks(launch.context, static_cast<int64_t>(launch.out[0].bytes()),
             [&](int64_t begin, int64_t end) { std::memmove(to + begin, from + begin, static_cast<size_t>(end - begin)); });
}

std::vector<Spec> Accumulate::infer(std::span<const Spec> in) const {
  require_equal(name(), in);
  return {in[0]};
}

std::optional<Alias> Accumulate::alias(int, std::span<const Spec>) const {
  if (!in_place_) return std::nullopt;
  return Alias{.input = 0, .writes = true};
}

std::vector<Tensor> Accumulate::grad(const Node&, std::span<const Tensor> dy) const { return {dy[0], dy[0]}; }

void Accumulate::run_cpu(Launch& launch) const {
  dispatch_all(launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* a = launch.in[0].data<T>();
    const T* b = launch.in[1].data<T>();
    T* out = launch.out[0].data<T>();
    for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = plus(a[i], b[i]);
    });
  });
}

Tensor accumulate(const Tensor& a, const Tensor& b) { return apply_one(std::make_shared<Accumulate>(), {a, b}); }

void accumulate_into(const Tensor& destination, const Tensor& source) {
  NoGrad guard(destination.context());
  apply_one(std::make_shared<Accumulate>(true), {destination, source});
}

}  // namespace tern
