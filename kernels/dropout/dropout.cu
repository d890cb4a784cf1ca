#include "core/launch.cuh"
#include "core/rng.h"
#include "kernels/dropout/dropout.h"

namespace tern::cuda {
namespace {

constexpr int kGroup = 4;  // elements of one draw

struct Draws {
  int64_t rows, width;  ///< of x; a row starts a new group
  uint32_t layer;
  float p;
};

/// A thread takes the group of elements that one draw decides on; groups of a row that is not a multiple of four, or
/// not aligned, go element by element. The first two threads copy the key.
template <class T, bool kPacked>
__global__ void dropout_kernel(Draws draws, Compute<T> scale, const T* x, const int64_t* key, const int64_t* samples,
                               T* y, int64_t* key_out) {
  if (first_index() < 2) key_out[first_index()] = key[first_index()];
  RngKey at{static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1]), 0, kRngFirstLayer + draws.layer};
  Random4 mixed = mixed_key(at);
  const int64_t groups_in_row = (draws.width + kGroup - 1) / kGroup, groups = draws.rows * groups_in_row;
  for (int64_t g = first_index(); g < groups; g += grid_step()) {
    const int64_t row = g / groups_in_row, block = g - row * groups_in_row;
    const uint64_t sample = static_cast<uint64_t>(samples ? samples[row] : row);
    const bool far = (sample >> 32) != (at.sample >> 32);
    at.sample = sample;
    if (far) mixed = mixed_key(at);
    const T* from = x + row * draws.width + block * kGroup;
    T* to = y + row * draws.width + block * kGroup;
    const Random4 words = random4(at, mixed, static_cast<uint32_t>(block));
    const auto kept = [&](int j, T value) {
      return narrow<T>(widen(value) * (uniform01(words.v[j]) >= draws.p ? scale : Compute<T>{0}));
    };
    if constexpr (kPacked) {
      Pack<T, kGroup> pack = load_pack<T, kGroup>(from);
#pragma unroll
      for (int j = 0; j < kGroup; ++j) pack.v[j] = kept(j, pack.v[j]);
      store_pack(to, pack);
    } else {
#pragma unroll
      for (int j = 0; j < kGroup; ++j)
        if (block * kGroup + j < draws.width) to[j] = kept(j, from[j]);
    }
  }
}

}  // namespace

void dropout(Launch& launch, const Dropout& options) {
  const int64_t rows = launch.in[0].size(0), width = launch.in[0].numel() / rows;
  const Draws draws{rows, width, options.layer, static_cast<float>(options.p)};
  const int64_t* samples = launch.in.size() > 2 ? launch.in[2].data<int64_t>() : nullptr;
  dispatch_floating("dropout", launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const T* x = launch.in[0].data<T>();
    T* y = launch.out[0].data<T>();
    const bool packed = sizeof(T) <= 4 && width % kGroup == 0 && aligned16(x, y);
    const int64_t groups = rows * ceil_div(width, kGroup);
    tern::cuda::launch(
        launch.context, "dropout", packed ? &dropout_kernel<T, (sizeof(T) <= 4)> : &dropout_kernel<T, false>,
        blocks_for(launch.context, groups), kThreads, draws, static_cast<Compute<T>>(1.0 / (1.0 - options.p)), x,
        launch.in[1].data<int64_t>(), samples, y, launch.out[1].data<int64_t>());
  });
}

}  // namespace tern::cuda
