// libFuzzer target: arbitrary bytes as a JPEG or PNG. What is accepted has its pixels and can be scaled.
#include <cstdlib>

#include "core/error.h"
#include "tools/picture_resize.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tern::data;
  try {
    const Picture picture = decode_picture({data, size});
    if (picture.height < 1 || picture.width < 1 || picture.rgb.size() != size_t{3} * picture.height * picture.width) std::abort();
    if (fit_picture(picture, 5, 7, Fit::crop).rgb.size() != 105) std::abort();
  } catch (const tern::DataError& error) {
    if (*error.what() == '\0') std::abort();
  }
  return 0;
}
