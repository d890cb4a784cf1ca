#pragma once
#include <array>
#include <cstdint>

/// Counter-based random numbers. The same header serves host and device code.
namespace tern {

#if defined(__CUDACC__)
#define TERN_HOST_DEVICE __host__ __device__
#else
#define TERN_HOST_DEVICE
#endif

/// One draw's coordinates: the result depends on these alone, never on a thread, a worker or the order of calls (D5).
struct RngKey {
  uint64_t seed = 0;    ///< the run's seed
  uint64_t epoch = 0;   ///< epoch, or step where there are no epochs
  uint64_t sample = 0;  ///< index of the picture in its data set, or row of the batch
  uint32_t op = 0;      ///< which use: see RngUse, or a layer's own number
};

/// Numbers of RngKey::op that are not a layer's: layers count up from kRngFirstLayer.
enum RngUse : uint32_t {
  kRngShuffle = 1, kRngCrop = 2, kRngFlip = 3, kRngCutout = 4, kRngInit = 5, kRngSynthetic = 6, kRngSplit = 7,
  kRngFirstLayer = 256
};

struct Random4 {
  uint32_t v[4];
};

/// Philox4x32-10. Ref: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
TERN_HOST_DEVICE inline Random4 philox4x32(Random4 counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter.v[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter.v[2];
    counter = Random4{{static_cast<uint32_t>(p1 >> 32) ^ counter.v[1] ^ key0, static_cast<uint32_t>(p1),
                       static_cast<uint32_t>(p0 >> 32) ^ counter.v[3] ^ key1, static_cast<uint32_t>(p0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// The Philox key of a draw, from its seed and use through one round of mixing. Draws that differ in the low 32 bits of
/// epoch and sample only have the same one: kernels make it once for many.
TERN_HOST_DEVICE inline Random4 mixed_key(const RngKey& key) {
  return philox4x32(Random4{{static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32), key.op,
                             static_cast<uint32_t>(key.epoch >> 32)}},
                    0x7465726Eu, static_cast<uint32_t>(key.sample >> 32));
}

/// random4() of a key whose mixed_key() is known.
TERN_HOST_DEVICE inline Random4 random4(const RngKey& key, const Random4& mixed, uint32_t block) {
  return philox4x32(Random4{{block, static_cast<uint32_t>(key.sample), static_cast<uint32_t>(key.epoch), key.op}},
                    mixed.v[0], mixed.v[1]);
}

/// The `block`-th four random words at a key. Seeds over 2^32, epochs and samples over 2^32 keep distinct streams up to 2^32 blocks.
TERN_HOST_DEVICE inline Random4 random4(const RngKey& key, uint32_t block = 0) {
  return random4(key, mixed_key(key), block);
}

/// Uniform in [0, 1) with 24 bits.
TERN_HOST_DEVICE inline float uniform01(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

/// Uniform in 0..bound-1 by multiplication (bias under bound / 2^32).
TERN_HOST_DEVICE inline uint32_t uniform_below(uint32_t word, uint32_t bound) {
  return static_cast<uint32_t>((uint64_t{word} * bound) >> 32);
}

}  // namespace tern
