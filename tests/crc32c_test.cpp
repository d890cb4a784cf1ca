// The checksum by instructions and by table, against each other, a bitwise one and the vectors of RFC 3720, B.4.
#include "core/crc32c.h"

#include <algorithm>
#include <random>
#include <string_view>
#include <vector>

#include "tests/catch.h"

using tern::crc32c;
using tern::crc32c_portable;

namespace {

using Bytes = std::vector<std::byte>;

uint32_t bitwise(std::span<const std::byte> bytes) {
  uint32_t state = 0xffffffff;
  for (std::byte b : bytes) {
    state ^= std::to_integer<uint32_t>(b);
    for (int bit = 0; bit < 8; ++bit) state = (state & 1) ? (state >> 1) ^ 0x82f63b78u : state >> 1;
  }
  return ~state;
}

Bytes random_bytes(size_t size) {
  std::mt19937 random(7);
  Bytes bytes(size);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
  return bytes;
}

void check(const Bytes& bytes, uint32_t expected) {
  CHECK(crc32c(bytes) == expected);
  CHECK(crc32c_portable(bytes) == expected);
}

}  // namespace

TEST_CASE("crc32c gives the vectors of RFC 3720", "[crc32c]") {
  check(Bytes(32), 0x8a9136aa);
  check(Bytes(32, std::byte{0xff}), 0x62a8ab43);
  Bytes counting(32);
  for (size_t i = 0; i < 32; ++i) counting[i] = static_cast<std::byte>(i);
  check(counting, 0x46dd794e);
  std::reverse(counting.begin(), counting.end());
  check(counting, 0x113fdb5c);
  Bytes read_command(48);  // an iSCSI command: bytes that are not zero, by place
  for (const auto& [at, value] : {std::pair<size_t, int>{0, 0x01},
                                  {1, 0xc0},
                                  {16, 0x14},
                                  {22, 0x04},
                                  {27, 0x14},
                                  {31, 0x18},
                                  {32, 0x28},
                                  {40, 0x02}})
    read_command[at] = static_cast<std::byte>(value);
  check(read_command, 0xd9963a56);
  const auto digits = std::as_bytes(std::span(std::string_view("123456789")));
  check(Bytes(digits.begin(), digits.end()), 0xe3069283);
  check({}, 0);
}

TEST_CASE("crc32c agrees with itself for any length, alignment and cut", "[crc32c]") {
  const Bytes bytes = random_bytes(40000);
  const std::span<const std::byte> all(bytes);
  // Lengths around the blocks of 3 * 256 and 3 * 4096 bytes that the three streams take.
  for (size_t size :
       {0, 1, 7, 8, 9, 48, 255, 767, 768, 769, 775, 1535, 1536, 2310, 12287, 12288, 12289, 13056, 24583, 36864, 39990})
    for (size_t start : {0, 1, 3, 7}) {
      CAPTURE(size, start);
      const auto part = all.subspan(start, size);
      const uint32_t expected = bitwise(part);
      REQUIRE(crc32c(part) == expected);
      REQUIRE(crc32c_portable(part) == expected);
      for (size_t cut : {size / 7, size / 2, size - size / 9}) {
        REQUIRE(crc32c(part.subspan(cut), crc32c(part.first(cut))) == expected);
        REQUIRE(crc32c_portable(part.subspan(cut), crc32c(part.first(cut))) == expected);
      }
    }
}
