#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace fuzz {

/// A fuzzer's input, read from its front; zeros when it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(std::as_bytes(std::span(data, size))) {}
  bool empty() const { return left_.empty(); }
  uint8_t byte() {
    const auto one = bytes(1);
    return one.empty() ? 0 : std::to_integer<uint8_t>(one[0]);
  }
  /// At most so many.
  std::span<const std::byte> bytes(size_t count) {
    const auto taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::byte> left_;
};

}  // namespace fuzz
