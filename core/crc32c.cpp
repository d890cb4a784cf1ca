#include "core/crc32c.h"

#include <array>
#include <cstring>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace tern {

#if defined(__SSE4_2__)

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc) {
  uint64_t state = ~crc;
  const std::byte* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    state = _mm_crc32_u64(state, word);
  }
  for (; left > 0; --left, ++p) state = _mm_crc32_u8(static_cast<uint32_t>(state), std::to_integer<uint8_t>(*p));
  return ~static_cast<uint32_t>(state);
}

#else

namespace {

constexpr std::array<uint32_t, 256> kTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t state = i;
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) ? 0x82f63b78u : 0u);
    table[i] = state;
  }
  return table;
}();

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc) {
  uint32_t state = ~crc;
  for (std::byte b : bytes) state = (state >> 8) ^ kTable[(state ^ std::to_integer<uint32_t>(b)) & 0xffu];
  return ~state;
}

#endif

}  // namespace tern
