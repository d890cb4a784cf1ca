#include "core/launch.cuh"
#include "kernels/normalize_images/normalize_images.h"

namespace tern::cuda {
namespace {

/// Channels that one launch takes: the mean and deviation of each are arguments of the kernel.
constexpr int kMaxChannels = 128;
struct Channels {
  float mean[kMaxChannels], std[kMaxChannels];
};

__device__ inline float normalized(int level, float mean, float std) {
  return (static_cast<float>(level) / 255.0f - mean) / std;
}

constexpr int kFewChannels = 4, kLevels = 256;

/// Up to kFewChannels channels. A pixel has 256 values: a block computes them all once, then a thread takes W elements
/// at a time and looks them up.
template <int W, class T>
__global__ void lookup_kernel(Channels channels, int channel_count, const uint8_t* x, T* y, int64_t count) {
  __shared__ float table[kFewChannels][kLevels];
  for (int i = threadIdx.x; i < channel_count * kLevels; i += blockDim.x)
    table[i / kLevels][i % kLevels] = normalized(i % kLevels, channels.mean[i / kLevels], channels.std[i / kLevels]);
  __syncthreads();
  for (int64_t i = first_index() * W; i < count; i += grid_step() * W) {
    int channel = static_cast<int>(i % channel_count);
    const Pack<uint8_t, W> levels = load_pack<uint8_t, W>(x + i);
    Pack<T, W> result;
#pragma unroll
    for (int j = 0; j < W; ++j) {
      result.v[j] = narrow<T>(table[channel][levels.v[j]]);
      channel = channel + 1 == channel_count ? 0 : channel + 1;
    }
#pragma unroll
    for (int j = 0; j < W; j += kPackWidth<T>)
      if constexpr (W > 1)
        store_pack(y + i + j, *reinterpret_cast<const Pack<T, kPackWidth<T>>*>(&result.v[j]));
      else
        y[i] = result.v[0];
  }
}

/// Any number of channels: this launch those from first_channel on, an element a thread.
template <class T>
__global__ void channels_kernel(Channels channels, int64_t first_channel, int64_t here, int64_t all, const uint8_t* x,
                                T* y, int64_t pixels) {
  for (int64_t i = first_index(); i < pixels * here; i += grid_step()) {
    const int64_t pixel = i / here, channel = i - pixel * here;
    const int64_t at = pixel * all + first_channel + channel;
    y[at] = narrow<T>(normalized(x[at], channels.mean[channel], channels.std[channel]));
  }
}

Channels channels_of(const NormalizeImages& options, int64_t first, int64_t count) {
  Channels channels{};
  for (int64_t c = 0; c < count; ++c) {
    channels.mean[c] = static_cast<float>(options.mean[static_cast<size_t>(first + c)]);
    channels.std[c] = static_cast<float>(options.std[static_cast<size_t>(first + c)]);
  }
  return channels;
}

}  // namespace

void normalize_images(Launch& launch, const NormalizeImages& options) {
  const int64_t count = launch.in[0].numel(), channels = launch.in[0].size(3);
  const uint8_t* x = launch.in[0].data<uint8_t>();
  dispatch_floating("normalize_images", options.dtype, [&](auto t) {
    using T = decltype(t);
    constexpr int kWidth = 16;
    T* y = launch.out[0].data<T>();
    const auto start = [&](auto* kernel, int64_t threads, const auto&... arguments) {
      tern::cuda::launch(launch.context, "normalize_images", kernel, blocks_for(launch.context, threads), kThreads,
                         arguments...);
    };
    if (channels > kFewChannels) {
      for (int64_t first = 0; first < channels; first += kMaxChannels) {
        const int64_t here = std::min<int64_t>(kMaxChannels, channels - first), pixels = count / channels;
        start(&channels_kernel<T>, pixels * here, channels_of(options, first, here), first, here, channels, x, y,
              pixels);
      }
    } else if (count % kWidth == 0 && aligned16(x, y)) {
      start(&lookup_kernel<kWidth, T>, count / kWidth, channels_of(options, 0, channels), channels, x, y, count);
    } else {
      start(&lookup_kernel<1, T>, count, channels_of(options, 0, channels), channels, x, y, count);
    }
  });
}

}  // namespace tern::cuda
