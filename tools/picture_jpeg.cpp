#include <cstddef>  // jpeglib.h wants size_t and FILE
#include <cstdio>

#include <jpeglib.h>
#include <jerror.h>

#include <algorithm>
#include <csetjmp>
#include <string>
#include <string_view>

#include "core/error.h"
#include "tools/picture_file.h"

namespace tern::data {
namespace {

/// libjpeg reports through these; it is C, so that an error leaves it by longjmp.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf leave;
  char message[JMSG_LENGTH_MAX] = {};
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  errors->base.format_message(info, errors->message);
  std::longjmp(errors->leave, 1);
}

/// libjpeg goes on after damage, with grey or wrong pixels; here a damaged picture is an error.
void warn(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL: leave(info);
    default: break;
  }
}

/// A progressive file may say the same thing in thousands of scans of its whole size.
void watch_scans(j_common_ptr info) {
  constexpr int kMostScans = 500;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  auto* errors = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans", kMostScans);
  std::longjmp(errors->leave, 1);
}

int orientation_of(const jpeg_decompress_struct& info) {
  constexpr std::string_view kExif{"Exif\0\0", 6};
  for (const jpeg_marker_struct* marker = info.marker_list; marker; marker = marker->next) {
    if (marker->marker != JPEG_APP0 + 1 || marker->data_length < kExif.size()) continue;
    const std::span<const uint8_t> data(marker->data, marker->data_length);
    if (std::ranges::equal(data.first(kExif.size()), kExif)) return exif_orientation(data.subspan(kExif.size()));
  }
  return 1;
}

/// Four inks to RGB, as Pillow does it. Adobe's files hold them inverted.
void cmyk_to_rgb(std::span<const uint8_t> cmyk, bool inverted, uint8_t* rgb) {
  for (size_t i = 0; i < cmyk.size(); i += 4) {
    const int white = inverted ? cmyk[i + 3] : 255 - cmyk[i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const int ink = (inverted ? 255 - cmyk[i + c] : cmyk[i + c]) * white + 128;
      *rgb++ = static_cast<uint8_t>(white - (((ink >> 8) + ink) >> 8));  // white - ink * white / 255, rounded
    }
  }
}

/// Outside the frame that longjmp comes back to, so that it is always destroyed.
struct Decompressor {
  jpeg_decompress_struct info{};
  ErrorManager errors{};
  jpeg_progress_mgr progress{};

  Decompressor() {
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = leave;
    errors.base.emit_message = warn;
    progress.progress_monitor = watch_scans;
  }
  ~Decompressor() { jpeg_destroy_decompress(&info); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
};

/// What longjmp passes over owns nothing: picture and row are the caller's. Returns false with errors.message set.
bool decode(Decompressor& d, std::span<const uint8_t> bytes, Picture& picture, std::vector<uint8_t>& row, int& orientation) {
  if (setjmp(d.errors.leave) != 0) return false;
  jpeg_decompress_struct& info = d.info;
  jpeg_create_decompress(&info);
  info.progress = &d.progress;
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
  jpeg_mem_src(&info, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&info, TRUE);
  orientation = orientation_of(info);  // the markers do not outlive the decompression
  check_picture_extents(info.image_height, info.image_width);
  const bool inks = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  row.resize(inks ? size_t{4} * info.image_width : 0);
  picture.height = static_cast<int>(info.image_height);
  picture.width = static_cast<int>(info.image_width);
  picture.rgb.resize(size_t{3} * info.image_height * info.image_width);
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    uint8_t* out = picture.rgb.data() + size_t{3} * info.output_scanline * info.output_width;
    JSAMPROW into = inks ? row.data() : out;
    if (jpeg_read_scanlines(&info, &into, 1) == 1 && inks) cmyk_to_rgb(row, info.saw_Adobe_marker, out);
  }
  jpeg_finish_decompress(&info);
  return true;
}

}  // namespace

Picture decode_jpeg(std::span<const uint8_t> bytes, int& orientation) {
  Decompressor decompressor;
  Picture picture;
  std::vector<uint8_t> row;
  if (!decode(decompressor, bytes, picture, row, orientation)) throw DataError("is a damaged JPEG: " + std::string(decompressor.errors.message));
  return picture;
}

}  // namespace tern::data
