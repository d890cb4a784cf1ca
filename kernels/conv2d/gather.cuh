#pragma once
#include "core/element.cuh"
#include "kernels/conv2d/geometry.h"

/// The operands of convolution's implicit matrix products: value(line(i, group), step(j)) is element [i, j] of the
/// operand of one group. A Line or a Step is an index taken apart, once for many elements. Lines out of range give
/// zeros; steps are in range. kStepsAcross: neighbouring steps, not neighbouring lines, are neighbours in memory.
namespace tern::cuda {

/// ConvShape in 32 bits, for index arithmetic on the device.
struct Geometry {
  int n, h, w, c, k, r, s, p, q, group_c, group_k;
  int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;

  explicit Geometry(const ConvShape& v)
      : n(narrow32(v.n)),
        h(narrow32(v.h)),
        w(narrow32(v.w)),
        c(narrow32(v.c)),
        k(narrow32(v.k)),
        r(narrow32(v.r)),
        s(narrow32(v.s)),
        p(narrow32(v.p)),
        q(narrow32(v.q)),
        group_c(narrow32(v.group_c())),
        group_k(narrow32(v.group_k())),
        stride_h(narrow32(v.options.stride.h)),
        stride_w(narrow32(v.options.stride.w)),
        padding_h(narrow32(v.options.padding.h)),
        padding_w(narrow32(v.options.padding.w)),
        dilation_h(narrow32(v.options.dilation.h)),
        dilation_w(narrow32(v.options.dilation.w)) {}

 private:
  static int narrow32(int64_t value) { return static_cast<int>(value); }
};

/// A matrix in memory: element [i, j] at group*group_stride + i*line_stride + j*step_stride.
template <class T, bool steps_across>
struct Dense {
  using Wide = Compute<T>;
  using Line = const T*;  ///< null: out of range
  static constexpr bool kStepsAcross = steps_across;
  const T* from;
  int64_t lines, steps, line_stride, group_stride, step_stride;

  __device__ Line line(int64_t i, int64_t group) const {
    return i < lines ? from + group * group_stride + i * line_stride : nullptr;
  }
  __device__ int64_t step(int64_t j) const { return j * step_stride; }
  __device__ Wide value(Line line, int64_t step) const { return line ? widen(line[step]) : Wide(0); }
};

/// The pixels of x under the filter's taps: of pixel (n,p,q) of y and tap (r,s,c) of a group's filters.
template <class T>
struct Patches {
  using Wide = Compute<T>;
  const T* x;
  Geometry g;

  /// Where the filter's corner lies for a pixel of y; h out of reach: no such pixel.
  struct Pixel {
    const T* picture;
    int h, w;
  };
  struct Tap {
    int64_t channel;  ///< of x; negative: no such tap
    int h, w;
  };
  __device__ Pixel pixel(int64_t i) const {
    const auto index = static_cast<unsigned>(i % (int64_t{g.p} * g.q));
    const int64_t n = i / (int64_t{g.p} * g.q);
    const int p = static_cast<int>(index / static_cast<unsigned>(g.q)),
              q = static_cast<int>(index % static_cast<unsigned>(g.q));
    return {n < g.n ? x + n * g.h * g.w * g.c : nullptr, p * g.stride_h - g.padding_h, q * g.stride_w - g.padding_w};
  }
  __device__ Tap tap(int64_t i, int64_t group) const {
    const auto index = static_cast<unsigned>(i), channels = static_cast<unsigned>(g.group_c);
    const int at = static_cast<int>(index / channels);
    const int r = at / g.s, s = at % g.s;
    return {r < g.r ? group * g.group_c + static_cast<int64_t>(index % channels) : -1, r * g.dilation_h,
            s * g.dilation_w};
  }
  __device__ Wide at(const Pixel& pixel, const Tap& tap) const {
    const int h = pixel.h + tap.h, w = pixel.w + tap.w;
    const bool inside = pixel.picture != nullptr && tap.channel >= 0 && h >= 0 && h < g.h && w >= 0 && w < g.w;
    return inside ? widen(pixel.picture[(int64_t{h} * g.w + w) * g.c + tap.channel]) : Wide(0);
  }
};

/// Lines are pixels; the group's first channel goes with them.
template <class T>
struct PatchesByPixel : Patches<T> {
  using Line = typename Patches<T>::Pixel;
  static constexpr bool kStepsAcross = true;
  __device__ Line line(int64_t i, int64_t group) const {
    Line line = this->pixel(i);
    if (line.picture != nullptr) line.picture += group * this->g.group_c;
    return line;
  }
  __device__ auto step(int64_t j) const { return this->tap(j, 0); }
  __device__ Compute<T> value(const Line& line, const typename Patches<T>::Tap& step) const {
    return this->at(line, step);
  }
};

/// Lines are taps.
template <class T>
struct PatchesByTap : Patches<T> {
  using Line = typename Patches<T>::Tap;
  static constexpr bool kStepsAcross = false;
  __device__ Line line(int64_t i, int64_t group) const { return this->tap(i, group); }
  __device__ auto step(int64_t j) const { return this->pixel(j); }
  __device__ Compute<T> value(const Line& line, const typename Patches<T>::Pixel& step) const {
    return this->at(step, line);
  }
};

/// The pixels of dy that a pixel of x meets under the filter's taps: of line (n,h,w) and step (r,s,k).
template <class T>
struct Spread {
  using Wide = Compute<T>;
  static constexpr bool kStepsAcross = true;
  const T* dy;
  Geometry g;

  struct Line {
    const T* picture;  ///< from the group's first filter on; null: out of range
    int h, w;
  };
  struct Step {
    int64_t k;
    int h, w;
  };
  __device__ Line line(int64_t i, int64_t group) const {
    const auto index = static_cast<unsigned>(i % (int64_t{g.h} * g.w));
    const int64_t n = i / (int64_t{g.h} * g.w);
    const int h = static_cast<int>(index / static_cast<unsigned>(g.w)),
              w = static_cast<int>(index % static_cast<unsigned>(g.w));
    return {n < g.n ? dy + n * g.p * g.q * g.k + group * g.group_k : nullptr, h + g.padding_h, w + g.padding_w};
  }
  __device__ Step step(int64_t j) const {
    const auto index = static_cast<unsigned>(j), filters = static_cast<unsigned>(g.group_k);
    const int at = static_cast<int>(index / filters);
    return {static_cast<int64_t>(index % filters), at / g.s * g.dilation_h, at % g.s * g.dilation_w};
  }
  __device__ Wide value(const Line& line, const Step& step) const {
    const int h = line.h - step.h, w = line.w - step.w;
    if (line.picture == nullptr || h < 0 || w < 0 || h % g.stride_h != 0 || w % g.stride_w != 0) return Wide(0);
    const int p = h / g.stride_h, q = w / g.stride_w;
    return p < g.p && q < g.q ? widen(line.picture[(int64_t{p} * g.q + q) * g.k + step.k]) : Wide(0);
  }
};

/// The filters with a group's channels as lines and (r,s,k) as steps.
template <class T>
struct FiltersByChannel {
  using Wide = Compute<T>;
  static constexpr bool kStepsAcross = false;
  const T* w;
  Geometry g;
  using Line = const T*;  ///< null: out of range

  __device__ Line line(int64_t i, int64_t group) const {
    return i < g.group_c ? w + group * g.group_k * (int64_t{g.r} * g.s * g.group_c) + i : nullptr;
  }
  __device__ int64_t step(int64_t j) const {
    const auto index = static_cast<unsigned>(j), filters = static_cast<unsigned>(g.group_k);
    const int64_t at = index / filters, k = index % filters;
    return (k * g.r * g.s + at) * g.group_c;
  }
  __device__ Wide value(Line line, int64_t step) const { return line ? widen(line[step]) : Wide(0); }
};

}  // namespace tern::cuda
