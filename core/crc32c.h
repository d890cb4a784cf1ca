#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace tern {

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of `bytes`, by the processor's instructions where it has them.
/// `crc` is the result for the bytes before them, so crc32c(b, crc32c(a)) == crc32c(ab). It finds accidents, not
/// forgeries. Ref: RFC 3720, appendix B.4.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

/// The same without such instructions.
uint32_t crc32c_portable(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace tern
