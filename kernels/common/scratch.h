#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

/// How an op's workspace is cut into arrays: workspace() adds up scratch_bytes, run() takes the same arrays in the same
/// order from a Scratch.
namespace tern {

/// Bytes of `count` elements, up to whole cache lines.
template <class T>
constexpr size_t scratch_bytes(int64_t count) {
  constexpr size_t kLine = 64;
  return (static_cast<size_t>(count) * sizeof(T) + kLine - 1) / kLine * kLine;
}

class Scratch {
 public:
  explicit Scratch(std::span<std::byte> memory) : next_(memory.data()) {}
  /// `count` uninitialised elements, aligned to a cache line.
  template <class T>
  T* take(int64_t count) {
    std::byte* here = next_;
    next_ += scratch_bytes<T>(count);
    return reinterpret_cast<T*>(here);
  }

 private:
  std::byte* next_;
};

}  // namespace tern
