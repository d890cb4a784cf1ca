#include "tools/picture_file.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

#include "core/error.h"
#include "tools/data_file.h"

namespace tern::data {
namespace {

/// Turns and mirrors a picture so that it is seen as `orientation` (2..8) says.
Picture oriented(const Picture& in, int orientation) {
  const bool transposed = orientation >= 5;
  Picture out{transposed ? in.width : in.height, transposed ? in.height : in.width, std::vector<uint8_t>(in.rgb.size())};
  const int bottom = in.height - 1, right = in.width - 1;
  uint8_t* to = out.rgb.data();
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      int row = transposed ? x : y, column = transposed ? y : x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) row = bottom - row;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) column = right - column;
      const size_t pixel = static_cast<size_t>(row) * static_cast<size_t>(in.width) + static_cast<size_t>(column);
      to = std::copy_n(in.rgb.data() + 3 * pixel, 3, to);
    }
  return out;
}

}  // namespace

int exif_orientation(std::span<const uint8_t> tiff) {
  if (tiff.size() < 8) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const auto u16 = [&](size_t at) { return static_cast<uint32_t>(little ? tiff[at] | tiff[at + 1] << 8 : tiff[at] << 8 | tiff[at + 1]); };
  const auto u32 = [&](size_t at) { return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2); };
  const size_t directory = u32(4);
  if (directory > tiff.size() - 2) return 1;
  const uint32_t entries = u16(directory);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + size_t{12} * i;
    if (entry + 12 > tiff.size()) return 1;
    if (u16(entry) != 0x0112 || u16(entry + 2) != 3) continue;  // type 3: SHORT
    const uint32_t value = u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

void check_picture_extents(int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > kMostPictureSide || width > kMostPictureSide || height * width > kMostPicturePixels)
    throw DataError("is " + std::to_string(width) + " x " + std::to_string(height) + " pixels, wanted at most " +
                    with_commas(kMostPictureSide) + " a side and " + with_commas(kMostPicturePixels) + " in all");
}

Picture decode_picture(std::span<const uint8_t> bytes) {
  constexpr uint8_t kJpeg[] = {0xff, 0xd8, 0xff}, kPng[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const auto begins_with = [&](std::span<const uint8_t> magic) {
    return bytes.size() >= magic.size() && std::ranges::equal(bytes.first(magic.size()), magic);
  };
  int orientation = 1;
  if (bytes.empty()) throw DataError("is empty");
  const bool jpeg = begins_with(kJpeg);
  if (!jpeg && !begins_with(kPng)) throw DataError("is neither JPEG nor PNG");
  Picture picture = jpeg ? decode_jpeg(bytes, orientation) : decode_png(bytes, orientation);
  return orientation == 1 ? std::move(picture) : oriented(picture, orientation);
}

Picture read_picture(const std::filesystem::path& path) {
  const File file = File::open(path);
  try {
    const int64_t size = file.size();
    if (size > kMostPictureBytes) throw DataError("has " + with_commas(size) + " bytes, wanted at most " + with_commas(kMostPictureBytes));
    std::vector<uint8_t> bytes(static_cast<size_t>(size));
    bytes.resize(file.read_at(0, bytes));
    return decode_picture(bytes);
  } catch (const DataError& error) {
    const std::string what = error.what();
    throw DataError(what.starts_with(path.string()) ? what : path.string() + " " + what);
  }
}

bool is_picture_name(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

}  // namespace tern::data
