#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string_view>

#include "core/shape.h"
#include "kernels/conv2d/conv2d.h"

/// Shapes and index arithmetic of convolution, for every kernel on every device.
namespace tern {

/// All extents of one convolution, named as in conv2d.h.
struct ConvShape {
  int64_t n = 0, h = 0, w = 0, c = 0;  ///< x
  int64_t k = 0, r = 0, s = 0;         ///< filters
  int64_t p = 0, q = 0;                ///< y
  Conv2d options;

  int64_t group_c() const { return c / options.groups; }
  int64_t group_k() const { return k / options.groups; }
  Shape x_shape() const { return {n, h, w, c}; }
  Shape w_shape() const { return {k, r, s, group_c()}; }
  Shape y_shape() const { return {n, p, q, k}; }
};

/// Of one pass, a multiply-add counted as two; taps on padding count.
inline double conv_flops(const ConvShape& s) { return 2.0 * static_cast<double>(s.n * s.p * s.q) * static_cast<double>(s.k * s.r * s.s * s.group_c()); }

/// Checks the contract of conv2d() and fills in P and Q.
ConvShape conv_shape(std::string_view op, const Shape& x, const Shape& w, const Conv2d& options);

/// One spatial axis of a convolution or of its gradient, from the side of the result: its index first + i*spacing,
/// i < count, is the sum over t < taps of source[i*stride + offset + t*offset_step] times
/// filter[filter + t*filter_step]. Source indices outside the picture count as zero. offset_step is positive.
struct AxisWalk {
  int64_t count = 0, first = 0, spacing = 1;
  int64_t taps = 0;
  int64_t stride = 1, offset = 0, offset_step = 1;
  int64_t filter = 0, filter_step = 1;
};

/// Neighbours [begin, end) on a result's axis that read the same taps from inside the source.
struct AxisRun {
  int64_t begin = 0, end = 0;
  int64_t first_tap = 0, taps = 0;
};

/// The run that starts at `begin` and ends before `limit`; the source's axis has `extent` elements.
inline AxisRun run_at(const AxisWalk& walk, int64_t extent, int64_t begin, int64_t limit) {
  const auto taps_at = [&](int64_t i) {
    const int64_t lowest = i * walk.stride + walk.offset, step = walk.offset_step;
    const int64_t first = lowest >= 0 ? 0 : (-lowest + step - 1) / step;
    const int64_t last = lowest >= extent ? 0 : std::min(walk.taps, (extent - lowest + step - 1) / step);
    return AxisRun{.first_tap = first < last ? first : 0, .taps = std::max<int64_t>(0, last - first)};
  };
  AxisRun run = taps_at(begin);
  run.begin = begin;
  for (run.end = begin + 1; run.end < limit; ++run.end) {
    const AxisRun next = taps_at(run.end);
    if (next.first_tap != run.first_tap || next.taps != run.taps) break;
  }
  return run;
}

/// y from x.
inline AxisWalk forward_walk(int64_t outputs, int64_t filter, int64_t stride, int64_t padding, int64_t dilation) {
  return {.count = outputs, .taps = filter, .stride = stride, .offset = -padding, .offset_step = dilation};
}

/// x from y: those elements of x that lie at phase, phase + stride, ... They all meet the same taps of the filter, so
/// that each phase is a convolution of stride 1. Taps run backwards to visit the source forwards.
inline AxisWalk backward_walk(int64_t inputs, int64_t filter, int64_t stride, int64_t padding, int64_t dilation,
                              int64_t phase) {
  AxisWalk walk{.count = (inputs - phase + stride - 1) / stride, .first = phase, .spacing = stride};
  const int64_t step = stride / std::gcd(stride, dilation);  // every step-th tap falls on a pixel of y
  int64_t lowest = 0;
  while (lowest < filter && (phase + padding - lowest * dilation) % stride != 0 && lowest < step) ++lowest;
  if (lowest >= filter || lowest >= step) return walk;
  walk.taps = (filter - lowest + step - 1) / step;
  walk.filter = lowest + (walk.taps - 1) * step;
  walk.filter_step = -step;
  walk.offset = (phase + padding - walk.filter * dilation) / stride;
  walk.offset_step = step * dilation / stride;
  return walk;
}

/// The outputs [begin, end) whose tap `offset` (= tap*dilation - padding) reads inside a picture of `inputs` pixels.
struct ValidRange {
  int64_t begin = 0, end = 0;
};
inline ValidRange valid_outputs(int64_t outputs, int64_t inputs, int64_t stride, int64_t offset) {
  const int64_t begin = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
  const int64_t end = inputs <= offset ? 0 : (inputs - offset + stride - 1) / stride;
  const int64_t last = end < outputs ? end : outputs;
  return {begin < last ? begin : last, last};
}

}  // namespace tern
