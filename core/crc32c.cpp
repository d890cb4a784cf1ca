#include "core/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace tern {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // bit 31 stands for x^0, as in every number here

constexpr uint32_t times_x(uint32_t a) { return (a >> 1) ^ ((a & 1) ? kPolynomial : 0u); }

constexpr std::array<uint32_t, 256> kTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) table[i] = times_x(table[i]);
  }
  return table;
}();

}  // namespace

uint32_t crc32c_portable(std::span<const std::byte> bytes, uint32_t crc) {
  uint32_t state = ~crc;
  for (std::byte b : bytes) state = (state >> 8) ^ kTable[(state ^ std::to_integer<uint32_t>(b)) & 0xffu];
  return ~state;
}

#if defined(__x86_64__) || defined(__ARM_FEATURE_CRC32)

namespace {

uint64_t load64(const std::byte* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

}  // namespace

#endif

#if defined(__x86_64__)

#define TERN_CRC_TARGET __attribute__((target("sse4.2,pclmul")))

namespace {

constexpr uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = uint32_t{1} << 31; bit != 0; bit >>= 1, b = times_x(b))
    if (a & bit) product ^= b;
  return product;
}

constexpr uint32_t power_of_x(uint64_t exponent) {
  uint32_t power = uint32_t{1} << 31;
  for (uint32_t square = uint32_t{1} << 30; exponent != 0; exponent >>= 1, square = multiply(square, square))
    if (exponent & 1) power = multiply(power, square);
  return power;
}

/// The state after kBytes zeros. The carry-less product of two reflected numbers is theirs times x, and the crc32
/// instruction multiplies by x^32, so that 33 factors are there already.
template <size_t kBytes>
TERN_CRC_TARGET uint64_t skip_zeros(uint64_t state) {
  constexpr uint32_t kFactor = power_of_x(8 * kBytes - 33);
  const __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<int64_t>(state)), _mm_cvtsi64_si128(int64_t{kFactor}), 0);
  return _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(product)));
}

/// Takes whole groups of 3 * kBlock bytes off `bytes`. One stream would wait three cycles for each result of the crc32
/// instruction, which can start every cycle: so each third of a group is a stream of its own.
template <size_t kBlock>
TERN_CRC_TARGET uint64_t three_streams(std::span<const std::byte>& bytes, uint64_t state) {
  for (; bytes.size() >= 3 * kBlock; bytes = bytes.subspan(3 * kBlock)) {
    const std::byte* p = bytes.data();
    uint64_t second = 0, third = 0;
    for (size_t i = 0; i < kBlock; i += 8) {
      state = _mm_crc32_u64(state, load64(p + i));
      second = _mm_crc32_u64(second, load64(p + kBlock + i));
      third = _mm_crc32_u64(third, load64(p + 2 * kBlock + i));
    }
    state = skip_zeros<2 * kBlock>(state) ^ skip_zeros<kBlock>(second) ^ third;
  }
  return state;
}

TERN_CRC_TARGET uint32_t crc32c_sse42(std::span<const std::byte> bytes, uint32_t crc) {
  uint64_t state = ~crc;
  state = three_streams<4096>(bytes, state);
  state = three_streams<256>(bytes, state);
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) state = _mm_crc32_u64(state, load64(bytes.data()));
  uint32_t last = static_cast<uint32_t>(state);
  for (std::byte b : bytes) last = _mm_crc32_u8(last, std::to_integer<uint8_t>(b));
  return ~last;
}

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc) {
  const bool has_instructions = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
  return has_instructions ? crc32c_sse42(bytes, crc) : crc32c_portable(bytes, crc);
}

#elif defined(__ARM_FEATURE_CRC32)

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc) {
  uint32_t state = ~crc;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) state = __crc32cd(state, load64(bytes.data()));
  for (std::byte b : bytes) state = __crc32cb(state, std::to_integer<uint8_t>(b));
  return ~state;
}

#else

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc) { return crc32c_portable(bytes, crc); }

#endif

}  // namespace tern
