#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <string>

#include "core/error.h"
#include "tools/picture_file.h"

namespace tern::data {
namespace {

/// What libpng's callbacks need.
struct Source {
  std::span<const uint8_t> rest;
  char message[160] = {};
};

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->rest.size()) png_error(png, "the file ends too early");
  std::copy_n(source->rest.begin(), count, to);
  source->rest = source->rest.subspan(count);
}

[[noreturn]] void leave(png_structp png, png_const_charp message) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::snprintf(source->message, sizeof source->message, "%s", message);
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

/// Outside the frame that longjmp comes back to, so that it is always destroyed.
struct Reader {
  Source source;
  png_structp png = nullptr;
  png_infop info = nullptr;

  explicit Reader(std::span<const uint8_t> bytes) : source{.rest = bytes} {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, leave, ignore_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) throw Error("[png] libpng cannot start: no memory, or another version than tern was built with");
  }
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

/// What longjmp passes over owns nothing: picture and rows are the caller's. Returns false with source.message set.
bool decode(Reader& reader, Picture& picture, std::vector<png_bytep>& rows) {
  png_structp png = reader.png;
  png_infop info = reader.info;
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_read_fn(png, &reader.source, read_bytes);
  png_read_info(png, info);
  const size_t height = png_get_image_height(png, info), width = png_get_image_width(png, info);
  check_picture_extents(static_cast<int64_t>(height), static_cast<int64_t>(width));
  png_set_expand(png);  // palette, grey of fewer bits, tRNS
  png_set_scale_16(png);
  png_set_strip_alpha(png);
  png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != 3 * width) png_error(png, "its pixels do not become RGB");
  picture.height = static_cast<int>(height);
  picture.width = static_cast<int>(width);
  picture.rgb.resize(3 * height * width);
  for (size_t y = 0; y < height; ++y) rows.push_back(picture.rgb.data() + y * 3 * width);
  png_read_image(png, rows.data());
  png_read_end(png, info);
  return true;
}

}  // namespace

Picture decode_png(std::span<const uint8_t> bytes, int& orientation) {
  Reader reader(bytes);
  Picture picture;
  std::vector<png_bytep> rows;
  if (!decode(reader, picture, rows)) throw DataError("is a damaged PNG: " + std::string(reader.source.message));
  png_bytep exif = nullptr;
  png_uint_32 length = 0;
  if (png_get_eXIf_1(reader.png, reader.info, &length, &exif) != 0) orientation = exif_orientation({exif, length});
  return picture;
}

}  // namespace tern::data
