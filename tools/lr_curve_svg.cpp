// The curve of a learning-rate range test as a picture.
#include <algorithm>
#include <cmath>

#include "tools/format.h"
#include "tools/lr_find.h"

namespace tern {
namespace {

constexpr double kWidth = 760, kHeight = 440, kLeft = 66, kRight = 24, kTop = 62, kBottom = 54;

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  return safe;
}

/// 1, 2 or 5 times a power of ten: about `about` of them make up `span`.
double round_step(double span, int about) {
  const double raw = span / about, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= raw * 0.999) return factor * power;
  return 10 * power;
}

class CurvePicture {
 public:
  explicit CurvePicture(const LrCurve& curve) : curve_(curve) {
    first_ = std::log10(curve.points.front().lr);
    last_ = std::max(std::log10(curve.points.back().lr), first_ + 1e-9);
    auto [low, high] = curve.shown_losses();
    low = std::min(low, std::ranges::min(curve.points, {}, &LrCurve::Point::loss).loss);
    step_ = round_step(high - low, 5);
    low_ = std::floor(low / step_ + 1e-6) * step_;
    high_ = std::ceil(high / step_ - 1e-6) * step_;
  }

  std::string svg(const std::string& title) {
    out_ = format("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' font-family='sans-serif' font-size='12' role='img'>\n", kWidth, kHeight);
    out_ += "<title>Learning-rate range test of " + escaped(title) + "</title>\n<rect width='100%' height='100%' fill='white'/>\n";
    out_ += format("<clipPath id='plot'><rect x='%.0f' y='%.0f' width='%.0f' height='%.0f'/></clipPath>\n", kLeft, kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom);
    text(kLeft, 24, "start", "Learning-rate range test: " + escaped(title), "font-size='14' font-weight='bold'");
    rates();
    losses();
    out_ += format("<rect x='%.0f' y='%.0f' width='%.0f' height='%.0f' fill='none' stroke='#888'/>\n", kLeft, kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom);
    legend();
    points();
    const auto steepest = curve_.steepest(), tenth = curve_.tenth_of_minimum();
    mark(steepest, tenth, "#c0392b", "steepest slope", kTop + 18);
    mark(tenth, steepest, "#2e7d32", "minimum / 10", kTop + 36);
    return out_ + "</svg>\n";
  }

 private:
  double x(double lr) const { return kLeft + (std::log10(lr) - first_) / (last_ - first_) * (kWidth - kLeft - kRight); }
  /// Outside of the frame for losses that it does not show.
  double y(double loss) const { return kTop + std::clamp((high_ - loss) / (high_ - low_), -1.0, 2.0) * (kHeight - kTop - kBottom); }

  void line(double x1, double y1, double x2, double y2, const std::string& style) {
    out_ += format("<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' %s/>\n", x1, y1, x2, y2, style.c_str());
  }
  void text(double at_x, double at_y, const char* anchor, const std::string& what, const std::string& style = "fill='#333'") {
    out_ += format("<text x='%.1f' y='%.1f' text-anchor='%s' %s>", at_x, at_y, anchor, style.c_str()) + what + "</text>\n";
  }

  /// Decades with labels, and their multiples without; with labels, too, where there are few decades.
  void rates() {
    const double bottom = kHeight - kBottom, decades = last_ - first_;
    for (int power = static_cast<int>(std::floor(first_)); power <= static_cast<int>(std::ceil(last_)); ++power)
      for (int digit = 1; digit <= 9; ++digit) {
        const double rate = digit * std::pow(10, power), place = std::log10(rate);
        if (place < first_ - 1e-9 || place > last_ + 1e-9) continue;
        if (digit == 1 || decades < 2) line(x(rate), kTop, x(rate), bottom, digit == 1 ? "stroke='#d8d8d8'" : "stroke='#efefef'");
        line(x(rate), bottom, x(rate), bottom + (digit == 1 ? 6 : 3), "stroke='#888'");
        if (digit == 1 || (decades < 2 && (digit == 2 || digit == 5))) text(x(rate), bottom + 20, "middle", format("%g", rate));
      }
    text((kLeft + kWidth - kRight) / 2, kHeight - 12, "middle", "learning rate, logarithmic");
  }

  void losses() {
    const int digits = std::max(0, static_cast<int>(-std::floor(std::log10(step_) + 1e-9)));
    for (int i = 0; low_ + i * step_ <= high_ + 0.5 * step_; ++i) {
      const double loss = low_ + i * step_;
      line(kLeft, y(loss), kWidth - kRight, y(loss), "stroke='#e4e4e4'");
      text(kLeft - 8, y(loss) + 4, "end", format("%.*f", digits, loss));
    }
    text(kLeft - 8, kTop - 14, "end", "loss");
  }

  void legend() {
    const double at = kTop - 18;
    out_ += format("<circle cx='%.1f' cy='%.1f' r='2' fill='#9fb4d6'/>\n", kLeft + 12, at);
    text(kLeft + 20, at + 4, "start", "a step");
    line(kLeft + 70, at, kLeft + 90, at, "stroke='#1f3d7a' stroke-width='2'");
    text(kLeft + 96, at + 4, "start", "their average, which the marks go by");
  }

  void points() {
    std::string line;
    for (const LrCurve::Point& p : curve_.points) {
      out_ += format("<circle clip-path='url(#plot)' cx='%.1f' cy='%.1f' r='2' fill='#9fb4d6'/>\n", x(p.lr), y(p.loss));
      line += format("%.1f,%.1f ", x(p.lr), y(p.smoothed));
    }
    out_ += "<polyline clip-path='url(#plot)' fill='none' stroke='#1f3d7a' stroke-width='2' points='" + line + "'/>\n";
  }

  /// The label stands away from the other mark, as far as there is room.
  void mark(const std::optional<double>& lr, const std::optional<double>& other, const char* colour, const std::string& what, double at_y) {
    if (!lr || *lr < curve_.points.front().lr) return;
    constexpr double kRoom = 170;
    const double at = x(*lr);
    const bool crowded = other && *other > *lr && x(*other) < at + kRoom;
    const bool left = at > kWidth - kRight - kRoom || (crowded && at > kLeft + kRoom);
    const std::string label = what + format(" %.3g", *lr);
    line(at, kTop, at, kHeight - kBottom, format("stroke='%s' stroke-width='1.5' stroke-dasharray='5 3'", colour));
    text(at + (left ? -6 : 6), at_y, left ? "end" : "start", label, format("fill='%s' stroke='white' stroke-width='4' paint-order='stroke'", colour));
  }

  const LrCurve& curve_;
  double first_, last_, low_, high_, step_;
  std::string out_;
};

}  // namespace

std::string lr_curve_svg(const LrCurve& curve, const std::string& title) { return CurvePicture(curve).svg(title); }

}  // namespace tern
