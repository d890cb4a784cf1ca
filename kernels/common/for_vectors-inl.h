// In-place loops over flat f32 arrays, once per SIMD target: included inside a file that foreach_target.h includes.
#if defined(TERN_FOR_VECTORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef TERN_FOR_VECTORS_INL_H
#undef TERN_FOR_VECTORS_INL_H
#else
#define TERN_FOR_VECTORS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {

/// x, or 0 where it is no normal number: an optimizer's average of gradients that have become 0 would stay one, and slow, for ever.
template <class D, class V>
HWY_INLINE V without_denormals(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::IfThenZeroElse(hn::Lt(hn::Abs(x), hn::Set(d, std::numeric_limits<float>::min())), x);
}

/// Calls `body(p, r)` for every vector of `count` elements: p[k] points at `updated[k]`'s part, where body loads and
/// stores, r at `read`'s. The rest goes through buffers and the same body, so an element's bits do not depend on its
/// place.
template <size_t K, class Body>
HWY_INLINE void for_vectors(const std::array<float*, K>& updated, const float* read, int64_t count, const Body& body) {
  constexpr int64_t kLanes = static_cast<int64_t>(hwy::HWY_NAMESPACE::MaxLanes(hwy::HWY_NAMESPACE::ScalableTag<float>()));
  std::array<float*, K> p = updated;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes, read += kLanes) {
    body(p, read);
    for (float*& pointer : p) pointer += kLanes;
  }
  const int64_t rest = count - i;
  if (rest == 0) return;
  float buffers[K][kLanes] = {}, read_buffer[kLanes] = {};
  std::array<float*, K> tail;
  for (size_t k = 0; k < K; ++k) {
    std::copy_n(p[k], rest, buffers[k]);
    tail[k] = buffers[k];
  }
  std::copy_n(read, rest, read_buffer);
  body(tail, read_buffer);
  for (size_t k = 0; k < K; ++k) std::copy_n(buffers[k], rest, p[k]);
}

}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#endif
