#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

/// Pictures in JPEG and PNG files.
namespace tern::data {

/// A decoded picture: 8-bit RGB, rows from the top, channels interleaved.
struct Picture {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> rgb;
};

/// Bounds of what is decoded: a small file may claim to be huge.
inline constexpr int64_t kMostPictureBytes = int64_t{1} << 28;   ///< of the file
inline constexpr int64_t kMostPicturePixels = int64_t{1} << 26;  ///< 67 million, 192 MiB decoded
inline constexpr int64_t kMostPictureSide = 65535;

/// Decodes a JPEG or a PNG; the content decides, not a name. Grey, palette, 16-bit and CMYK pictures become RGB, alpha is
/// dropped (as Pillow's convert("RGB") does), colour profiles are ignored, an EXIF orientation is applied.
/// Throws DataError: "is neither JPEG nor PNG", "PNG: ...", a truncated or damaged file, more pixels than the bound.
Picture decode_picture(std::span<const uint8_t> bytes);

/// Reads and decodes a file. Throws DataError beginning with its name.
Picture read_picture(const std::filesystem::path& path);

/// Whether a file's name ends in .jpg, .jpeg or .png, in any case.
bool is_picture_name(const std::filesystem::path& path);

// The parts of decode_picture.
Picture decode_jpeg(std::span<const uint8_t> bytes, int& orientation);
Picture decode_png(std::span<const uint8_t> bytes, int& orientation);
/// Throws DataError where a picture is empty or over the bound.
void check_picture_extents(int64_t height, int64_t width);
/// The orientation, 1..8, that an EXIF block (from its TIFF header on) gives; 1 where it has none or is damaged.
/// Ref: EXIF 2.32, tag 0x0112.
int exif_orientation(std::span<const uint8_t> tiff);

}  // namespace tern::data
