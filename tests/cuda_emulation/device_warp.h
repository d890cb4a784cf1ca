#pragma once
/// Barriers, warp collectives, atomics and memory hints. Included by device.h.
#include "tests/cuda_emulation/device.h"

namespace tern::emulation {

/// Exchanges 4- or 8-byte values between the lanes of a warp.
template <class T>
T shuffle(unsigned mask, T value, int source, const char* file, int line) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4 && sizeof(T) <= 8, "CUDA shuffles 4- and 8-byte numbers");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_exchange({Rendezvous::Kind::shuffle, file, line}, mask, bits, source);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
/// The highest lane of this lane's segment of `width` lanes.
inline int segment_end(int width) { return lane_index() | (width - 1); }

template <class T>
T fetch(T* address, T replacement) {
  const T old = *address;
  *address = replacement;
  return old;
}

}  // namespace tern::emulation

inline void __syncthreads(TERN_SITE) {
  tern::emulation::block_barrier({tern::emulation::Rendezvous::Kind::barrier, file, line}, 0);
}
inline int __syncthreads_count(int predicate, TERN_SITE) {
  return tern::emulation::block_barrier({tern::emulation::Rendezvous::Kind::barrier_count, file, line}, predicate);
}
inline int __syncthreads_or(int predicate, TERN_SITE) {
  return tern::emulation::block_barrier({tern::emulation::Rendezvous::Kind::barrier_or, file, line}, predicate) > 0;
}
inline int __syncthreads_and(int predicate, TERN_SITE) {
  return tern::emulation::block_barrier({tern::emulation::Rendezvous::Kind::barrier_and, file, line}, !predicate) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, TERN_SITE) {
  tern::emulation::warp_exchange({tern::emulation::Rendezvous::Kind::syncwarp, file, line}, mask, 0, 0);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, TERN_SITE) {
  const int lane = tern::emulation::lane_index();
  return tern::emulation::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, TERN_SITE) {
  const int lane = tern::emulation::lane_index(), source = lane - static_cast<int>(delta);
  return tern::emulation::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, TERN_SITE) {
  const int lane = tern::emulation::lane_index(), source = lane + static_cast<int>(delta);
  return tern::emulation::shuffle(mask, value, source > tern::emulation::segment_end(width) ? lane : source, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, TERN_SITE) {
  const int lane = tern::emulation::lane_index(), source = lane ^ lane_mask;
  return tern::emulation::shuffle(mask, value, source > tern::emulation::segment_end(width) ? lane : source, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, TERN_SITE) {
  return static_cast<unsigned>(tern::emulation::warp_exchange(
      {tern::emulation::Rendezvous::Kind::ballot, file, line}, mask, predicate != 0, 0));
}
inline int __any_sync(unsigned mask, int predicate, TERN_SITE) { return __ballot_sync(mask, predicate, file, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, TERN_SITE) { return __ballot_sync(mask, !predicate, file, line) == 0; }

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap(TERN_SITE) { tern::emulation::trap(file, line); }

// A fiber gives way only at a rendezvous, so plain reads and writes are atomic.
#define TERN_ATOMIC(T)                                                                             \
  inline T atomicExch(T* address, T value) { return tern::emulation::fetch(address, value); }      \
  inline T atomicAdd(T* address, T value) {                                                        \
    return tern::emulation::fetch(address, static_cast<T>(*address + value));                      \
  }
#define TERN_ATOMIC_INTEGER(T)                                                                     \
  TERN_ATOMIC(T)                                                                                   \
  inline T atomicMax(T* address, T value) {                                                        \
    return tern::emulation::fetch(address, *address < value ? value : *address);                   \
  }                                                                                                \
  inline T atomicMin(T* address, T value) {                                                        \
    return tern::emulation::fetch(address, value < *address ? value : *address);                   \
  }                                                                                                \
  inline T atomicOr(T* address, T value) { return tern::emulation::fetch(address, *address | value); } \
  inline T atomicAnd(T* address, T value) { return tern::emulation::fetch(address, *address & value); } \
  inline T atomicXor(T* address, T value) { return tern::emulation::fetch(address, *address ^ value); } \
  inline T atomicCAS(T* address, T compare, T value) {                                             \
    return tern::emulation::fetch(address, *address == compare ? value : *address);                \
  }
TERN_ATOMIC_INTEGER(int)
TERN_ATOMIC_INTEGER(unsigned)
TERN_ATOMIC_INTEGER(unsigned long long)
TERN_ATOMIC(float)
TERN_ATOMIC(double)
#undef TERN_ATOMIC
#undef TERN_ATOMIC_INTEGER
inline int atomicSub(int* address, int value) { return atomicAdd(address, -value); }
inline unsigned atomicSub(unsigned* address, unsigned value) { return atomicAdd(address, 0u - value); }
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return tern::emulation::fetch(address, *address >= limit ? 0u : *address + 1);
}

template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> T __ldca(const T* address) { return *address; }
template <class T> T __ldlu(const T* address) { return *address; }
template <class T> void __stcs(T* address, std::type_identity_t<T> value) { *address = value; }
template <class T> void __stcg(T* address, std::type_identity_t<T> value) { *address = value; }
template <class T> void __stwt(T* address, std::type_identity_t<T> value) { *address = value; }
