#include "core/utf8.h"

#include <cstdint>

namespace tern {

std::optional<size_t> find_bad_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  for (size_t i = 0; i < text.size();) {
    const uint8_t lead = byte(i);
    size_t length = 1;
    // The second byte's range keeps out overlong forms, surrogates and what lies past U+10FFFF.
    uint8_t low = 0x80, high = 0xbf;
    if (lead >= 0x80) {
      if (lead < 0xc2 || lead > 0xf4) return i;
      length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
      if (byte(i + 1) < low || byte(i + 1) > high) return i;
      for (size_t k = 2; k < length; ++k)
        if ((byte(i + k) & 0xc0) != 0x80) return i;
    }
    i += length;
  }
  return std::nullopt;
}

}  // namespace tern
