#include "kernels/conv2d/narrow_f32.h"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/common/loops.h"
#include "kernels/common/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv2d/narrow_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef TERN_NARROW_F32_ONCE
#define TERN_NARROW_F32_ONCE
namespace tern {

/// One picture of the source, channel by channel, with its padding: row y, column x of a plane is the source's row
/// y + rows.offset, column x + cols.offset.
struct PaddedPlanes {
  float* data = nullptr;
  int64_t height = 0, width = 0;
  int64_t plane() const { return height * width; }

  /// Rows are as long as whole vectors of results read them, of any target.
  static PaddedPlanes of(const Correlation& job) {
    constexpr int64_t kMaxLanes = 16;
    return {nullptr, job.result_h + (job.rows.taps - 1) * job.rows.offset_step,
            (job.result_w + kMaxLanes - 1) / kMaxLanes * kMaxLanes + (job.cols.taps - 1) * job.cols.offset_step};
  }
};

}  // namespace tern
#endif

HWY_BEFORE_NAMESPACE();
namespace tern {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {  // internal linkage: position-independent code would not inline across it

const hn::ScalableTag<float> kF32;
const hn::RebindToSigned<hn::ScalableTag<float>> kI32;
using Vec = hn::Vec<decltype(kF32)>;
constexpr int kMaxChannels = 8;
constexpr int64_t kMaxLanes = 16;
constexpr int64_t kChain = 96;  // as in correlate_f32

/// Vectors of pixels at once: with K channels each their sums fill 16 or 32 registers.
constexpr int VectorsFor(int channels) {
  if (HWY_TARGET == HWY_AVX2) return channels <= 3 ? 4 : channels <= 6 ? 2 : 1;
  return channels <= 6 ? 4 : 2;
}

/// K channels of N vectors of pixels, whose values for `count` taps and channels lie `offsets` behind `at`; w [count][K], out [N][K][lanes].
template <int K, int N>
void Pixels(const float* const* at, const int64_t* offsets, int64_t count, const float* HWY_RESTRICT w, const float* bias, float* HWY_RESTRICT out) {
  Vec sum[N][K], total[N][K];
  TERN_UNROLL for (int n = 0; n < N; ++n) TERN_UNROLL for (int k = 0; k < K; ++k) {
    sum[n][k] = hn::Zero(kF32);
    total[n][k] = hn::Set(kF32, bias[k]);
  }
  for (int64_t first = 0; first < count; first += kChain) {
    const int64_t end = std::min(count, first + kChain);
    for (int64_t i = first; i < end; ++i, w += K) {
      Vec x[N];
      TERN_UNROLL for (int n = 0; n < N; ++n) x[n] = hn::LoadU(kF32, at[n] + offsets[i]);
      TERN_UNROLL for (int k = 0; k < K; ++k) {
        const Vec weight = hn::Set(kF32, w[k]);
        TERN_UNROLL for (int n = 0; n < N; ++n) sum[n][k] = hn::MulAdd(x[n], weight, sum[n][k]);
      }
    }
    TERN_UNROLL for (int n = 0; n < N; ++n) TERN_UNROLL for (int k = 0; k < K; ++k) {
      total[n][k] = hn::Add(total[n][k], sum[n][k]);
      sum[n][k] = hn::Zero(kF32);
    }
  }
  TERN_UNROLL for (int n = 0; n < N; ++n) TERN_UNROLL for (int k = 0; k < K; ++k)
      hn::StoreU(total[n][k], kF32, out + (n * K + k) * static_cast<int64_t>(hn::Lanes(kF32)));
}

/// All results of one picture.
template <int K>
void PictureOf(const Correlation& job, int64_t image, const PaddedPlanes& planes, const int64_t* offsets, const float* w, const float* bias) {
  constexpr int kVectors = VectorsFor(K);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kF32)), across = (job.result_w + lanes - 1) / lanes;
  float values[kVectors * K * kMaxLanes];
  HWY_ALIGN int32_t order[K * kMaxLanes];  // where the channels of one pixel after another are in [K][lanes]
  for (int64_t i = 0; i < K * lanes; ++i) order[i] = static_cast<int32_t>(i % K * lanes + i / K);
  float* result = job.result + image * job.result_h * job.result_w * K;
  const int64_t vectors = job.result_h * across;
  for (int64_t first = 0; first < vectors; first += kVectors) {
    const int64_t count = std::min<int64_t>(kVectors, vectors - first);
    const float* at[kVectors];
    for (int64_t n = 0; n < kVectors; ++n) {
      const int64_t vector = std::min(first + n, vectors - 1);  // the last ones over again where they do not come out even
      at[n] = planes.data + vector / across * planes.width + vector % across * lanes;
    }
    constexpr int kHalf = kVectors > 1 ? kVectors / 2 : 1;
    const auto& pixels_of = count <= kHalf ? Pixels<K, kHalf> : Pixels<K, kVectors>;
    pixels_of(at, offsets, job.rows.taps * job.cols.taps * job.group_in, w, bias, values);
    for (int64_t n = 0; n < count; ++n) {
      const int64_t row = (first + n) / across, column = (first + n) % across * lanes;
      float* to = result + (row * job.result_w + column) * K;
      const float* from = values + n * K * lanes;
      const int64_t floats = std::min(lanes, job.result_w - column) * K;
      for (int64_t i = 0; i < floats; i += lanes) {  // vector i/lanes of the pixels, their channels side by side
        const Vec part = hn::GatherIndex(kF32, from, hn::Load(kI32, order + i));
        if (i + lanes <= floats) hn::StoreU(part, kF32, to + i);
        else hn::BlendedStore(part, hn::FirstN(kF32, static_cast<size_t>(floats - i)), kF32, to + i);
      }
    }
  }
}

void RunPicture(const Correlation& job, int64_t image, const PaddedPlanes& planes, const int64_t* offsets, const float* w, const float* bias) {
  using Function = void (*)(const Correlation&, int64_t, const PaddedPlanes&, const int64_t*, const float*, const float*);
  constexpr std::array<Function, kMaxChannels> kFunctions = {PictureOf<1>, PictureOf<2>, PictureOf<3>, PictureOf<4>,
                                                             PictureOf<5>, PictureOf<6>, PictureOf<7>, PictureOf<8>};
  kFunctions[static_cast<size_t>(job.group_out - 1)](job, image, planes, offsets, w, bias);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace tern
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tern {
namespace {

HWY_EXPORT(RunPicture);

constexpr int64_t kMostPlaneFloats = 1 << 16;  // they should stay in a second-level cache

/// Where in the planes the values of a result's taps and channels are, in the order of its filters.
void order_values(const Correlation& job, const PaddedPlanes& planes, int64_t* offsets) {
  for (int64_t t = 0; t < job.rows.taps; ++t)
    for (int64_t u = 0; u < job.cols.taps; ++u)
      for (int64_t i = 0; i < job.group_in; ++i)
        *offsets++ = (i * planes.height + t * job.rows.offset_step) * planes.width + u * job.cols.offset_step;
}

void copy_planes(const Correlation& job, int64_t image, const PaddedPlanes& planes) {
  const int64_t channels = job.group_in;
  std::fill_n(planes.data, channels * planes.plane(), 0.0F);
  const int64_t left = std::max<int64_t>(0, -job.cols.offset), first = std::max<int64_t>(0, job.cols.offset);
  const int64_t count = std::min(planes.width - left, job.source_w - first);
  for (int64_t y = 0; y < planes.height; ++y) {
    const int64_t row = y + job.rows.offset;
    if (row < 0 || row >= job.source_h) continue;
    const float* from = job.source + ((image * job.source_h + row) * job.source_w + first) * channels;
    float* to = planes.data + y * planes.width + left;
    if (channels == 3) {
      float *red = to, *green = red + planes.plane(), *blue = green + planes.plane();
      TERN_INDEPENDENT
      for (int64_t x = 0; x < count; ++x) red[x] = from[3 * x], green[x] = from[3 * x + 1], blue[x] = from[3 * x + 2];
      continue;
    }
    for (int64_t c = 0; c < channels; ++c, to += planes.plane())
      for (int64_t x = 0; x < count; ++x) to[x] = from[x * channels + c];
  }
}

}  // namespace

bool narrow_fits(const Correlation& job) {
  const auto plain = [](const AxisWalk& walk) { return walk.stride == 1 && walk.spacing == 1 && walk.taps > 0; };
  if (job.groups != 1 || job.group_out > 8 || !plain(job.rows) || !plain(job.cols)) return false;
  const PaddedPlanes planes = PaddedPlanes::of(job);
  return job.result_w >= 8 && job.group_in * job.rows.taps * job.cols.taps >= 16 && job.group_in * planes.plane() <= kMostPlaneFloats;
}

size_t narrow_f32_workspace(const Correlation& job, int threads) {
  const int64_t values = job.rows.taps * job.cols.taps * job.group_in;
  return scratch_bytes<float>(values * job.group_out) + scratch_bytes<int64_t>(values) + scratch_bytes<float>(job.group_out) +
         static_cast<size_t>(threads) * scratch_bytes<float>(job.group_in * PaddedPlanes::of(job).plane());
}

void narrow_f32(const Correlation& job, const float* w, const FilterSteps& steps, const float* bias, std::span<std::byte> memory, ThreadPool& pool) {
  Scratch scratch(memory);
  const int64_t values = job.rows.taps * job.cols.taps * job.group_in;
  float* filters = scratch.take<float>(values * job.group_out);
  int64_t* offsets = scratch.take<int64_t>(values);
  float* start = scratch.take<float>(job.group_out);
  PaddedPlanes planes = PaddedPlanes::of(job);
  const int64_t floats = job.group_in * planes.plane();
  std::vector<float*> slots;
  for (int slot = 0; slot < pool.threads(); ++slot) slots.push_back(scratch.take<float>(floats));
  pack_filters(job, w, steps, job.group_out, values * job.group_out, filters, pool);
  order_values(job, planes, offsets);
  std::fill_n(start, job.group_out, 0.0F);
  if (bias != nullptr) std::copy_n(bias, job.group_out, start);
  pool.parallel_for(job.images, [&](int64_t image, int slot) {
    PaddedPlanes own = planes;
    own.data = slots[static_cast<size_t>(slot)];
    copy_planes(job, image, own);
    HWY_DYNAMIC_DISPATCH(RunPicture)(job, image, own, offsets, filters, start);
  });
}

}  // namespace tern
#endif
