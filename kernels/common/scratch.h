#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

/// How an op's workspace is cut into arrays: workspace() adds up a ScratchSize, run() takes the same arrays in the same
/// order from a Scratch.
namespace tern {

inline constexpr size_t kScratchAlignment = 64;

template <class T>
constexpr size_t scratch_bytes(int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(T);
  return (bytes + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}

class ScratchSize {
 public:
  template <class T>
  ScratchSize& add(int64_t count) {
    bytes_ += scratch_bytes<T>(count);
    return *this;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

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
