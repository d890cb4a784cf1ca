#pragma once
#include <random>
#include <string_view>
#include <vector>

#include "dist/frame.h"

/// Frames for the tests of dist.
namespace tern::dist::test {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::vector<std::byte> random_payload(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> payload(size);
  for (std::byte& b : payload) b = static_cast<std::byte>(random());
  return payload;
}

/// Header and payload in one piece.
inline std::vector<std::byte> whole_frame(const FrameHeader& header, Bytes payload) {
  const auto head = encode_header(header, payload);
  std::vector<std::byte> frame(head.begin(), head.end());
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

}  // namespace tern::dist::test
