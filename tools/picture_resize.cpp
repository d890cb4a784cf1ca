#include "tools/picture_resize.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace tern::data {
namespace {

constexpr int kFractionBits = 22;  // of a weight; with 8-bit pixels a sum just fits into 32 bits

/// Which pixels of a line make an output pixel, and with what weights.
struct Tap {
  int first = 0;
  std::vector<int32_t> weights;
};

/// Taps of output pixels begin..begin+count-1 of a line of `in` pixels scaled to `out`.
std::vector<Tap> taps_of(int in, int out, int begin, int count) {
  const double scale = static_cast<double>(in) / out;
  const double reach = std::max(scale, 1.0);  // half the triangle's base, in input pixels
  std::vector<Tap> taps(static_cast<size_t>(count));
  std::vector<double> exact;
  for (int i = 0; i < count; ++i) {
    const double center = (begin + i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - reach + 0.5), 0);
    const int end = std::min(static_cast<int>(center + reach + 0.5), in);
    exact.clear();
    double sum = 0;
    for (int x = first; x < end; ++x) {
      exact.push_back(std::max(0.0, 1.0 - std::abs((x - center + 0.5) * (1.0 / reach))));
      sum += exact.back();
    }
    Tap& tap = taps[static_cast<size_t>(i)];
    tap.first = first;
    for (const double w : exact) tap.weights.push_back(static_cast<int32_t>((w / sum) * (1 << kFractionBits) + 0.5));
  }
  return taps;
}

/// One output value from pixels that are `step` bytes apart.
uint8_t blend(const uint8_t* from, size_t step, const Tap& tap) {
  int32_t sum = 1 << (kFractionBits - 1);
  for (size_t k = 0; k < tap.weights.size(); ++k) sum += tap.weights[k] * from[k * step];
  return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

}  // namespace

Picture resize(const Picture& in, const ResizeWindow& w) {
  if (w.top < 0 || w.left < 0 || w.rows < 1 || w.columns < 1 || w.rows > w.height - w.top || w.columns > w.width - w.left)
    throw ConfigError("[resize] the window hangs over the scaled picture");
  const std::vector<Tap> across = taps_of(in.width, w.width, w.left, w.columns);
  const std::vector<Tap> down = taps_of(in.height, w.height, w.top, w.rows);
  const int first_row = down.front().first;
  const int rows = down.back().first + static_cast<int>(down.back().weights.size()) - first_row;

  const size_t in_line = static_cast<size_t>(in.width) * 3, line = static_cast<size_t>(w.columns) * 3;
  std::vector<uint8_t> narrowed(static_cast<size_t>(rows) * line);
  for (int y = 0; y < rows; ++y) {
    const uint8_t* from = in.rgb.data() + static_cast<size_t>(first_row + y) * in_line;
    uint8_t* to = narrowed.data() + static_cast<size_t>(y) * line;
    for (const Tap& tap : across)
      for (size_t c = 0; c < 3; ++c) *to++ = blend(from + static_cast<size_t>(tap.first) * 3 + c, 3, tap);
  }
  Picture out{w.rows, w.columns, std::vector<uint8_t>(static_cast<size_t>(w.rows) * line)};
  uint8_t* to = out.rgb.data();
  for (const Tap& tap : down) {
    const uint8_t* from = narrowed.data() + static_cast<size_t>(tap.first - first_row) * line;
    for (size_t x = 0; x < line; ++x) *to++ = blend(from + x, line, tap);
  }
  return out;
}

Picture fit_picture(const Picture& in, int height, int width, Fit fit) {
  ResizeWindow window{.height = height, .width = width, .rows = height, .columns = width};
  if (fit == Fit::crop) {
    // The side that needs the larger factor gets its extent exactly, the other one in proportion, rounded down.
    if (int64_t{height} * in.width >= int64_t{width} * in.height) {
      window.width = static_cast<int>(int64_t{height} * in.width / in.height);
    } else {
      window.height = static_cast<int>(int64_t{width} * in.height / in.width);
    }
    const auto half_to_even = [](int v) { return v / 2 + (v % 4 == 3 ? 1 : 0); };  // as Python's round(v / 2)
    window.top = half_to_even(window.height - height);
    window.left = half_to_even(window.width - width);
  }
  return resize(in, window);
}

}  // namespace tern::data
