#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tern {

/// A picture in memory: uint8, rows of pixels, channels interleaved, 1 (grey) or 3 (RGB) of them.
struct Picture {
  int height = 0, width = 0, channels = 3;
  std::vector<uint8_t> pixels;

  Picture() = default;
  Picture(int h, int w, int c) : height(h), width(w), channels(c), pixels(static_cast<size_t>(h) * static_cast<size_t>(w) * static_cast<size_t>(c)) {}
  /// First value of the pixel.
  size_t at(int y, int x) const { return (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)) * static_cast<size_t>(channels); }
};

/// The bytes of a PNG file. Throws Error when libpng cannot write it.
std::string encode_png(const Picture& picture);

/// Ref: RFC 4648, section 4.
std::string base64(std::string_view bytes);

}  // namespace tern
