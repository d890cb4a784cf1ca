#include "tools/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tools/format.h"
#include "tools/json_text.h"

namespace tern {
namespace {

using Clock = std::chrono::steady_clock;

/// Lets through one call an interval, so that output costs nothing.
class Throttle {
 public:
  explicit Throttle(double seconds) : interval_(seconds) {}
  bool ready() {
    const auto now = Clock::now();
    if (started_ && now - last_ < interval_) return false;
    started_ = true;
    last_ = now;
    return true;
  }

 private:
  std::chrono::duration<double> interval_;
  Clock::time_point last_{};
  bool started_ = false;
};

std::string state_text(const ProgressState& s) {
  return format("epoch %lld/%lld  step %lld/%lld  loss %.4f  acc %5.2f %%  %.0f images/s  data %.0f %%  ETA %s",
                static_cast<long long>(s.epoch), static_cast<long long>(s.epochs), static_cast<long long>(s.step),
                static_cast<long long>(s.steps), s.loss, 100 * s.accuracy, s.images_per_s, 100 * s.data_wait,
                duration_text(s.eta_seconds).c_str());
}

class Silent final : public Progress {
 public:
  void step(const ProgressState&) override {}
  void message(const std::string&) override {}
  void task(const std::string&, int64_t, int64_t) override {}
  void finish() override {}
};

class Lines final : public Progress {
 public:
  void step(const ProgressState& s) override {
    if (throttle_.ready()) message(state_text(s));
  }
  void message(const std::string& text) override {
    std::fprintf(stderr, "%s\n", text.c_str());
    std::fflush(stderr);
  }
  void task(const std::string& name, int64_t done, int64_t total) override {
    if (done < total && throttle_.ready())
      message(format("%s %lld/%lld", name.c_str(), static_cast<long long>(done), static_cast<long long>(total)));
  }
  void finish() override {}

 private:
  Throttle throttle_{10};
};

class Json final : public Progress {
 public:
  void step(const ProgressState& s) override {
    if (!throttle_.ready()) return;
    write({{"event", "step"}, {"epoch", s.epoch}, {"epochs", s.epochs}, {"step", s.step}, {"steps", s.steps}, {"loss", s.loss},
           {"accuracy", s.accuracy}, {"images_per_s", s.images_per_s}, {"data_wait", s.data_wait}, {"eta_seconds", s.eta_seconds}});
  }
  void message(const std::string& text) override { write({{"event", "message"}, {"text", text}}); }
  void task(const std::string& name, int64_t done, int64_t total) override {
    if (done == total || throttle_.ready()) write({{"event", "task"}, {"name", name}, {"done", done}, {"total", total}});
  }
  void finish() override {}

 private:
  static void write(const nlohmann::json& object) {
    std::fprintf(stderr, "%s\n", json_text(object).c_str());
    std::fflush(stderr);
  }
  Throttle throttle_{1};
};

class Bar final : public Progress {
 public:
  Bar() {
    const char* no_color = std::getenv("NO_COLOR");
    color_ = (!no_color || !*no_color) && isatty(STDERR_FILENO);
  }
  ~Bar() override { finish(); }
  void step(const ProgressState& s) override {
    if (s.step < s.steps && !throttle_.ready()) return;
    draw(bar(s.step, s.steps) + " " + state_text(s));
  }
  void message(const std::string& text) override {
    finish();
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  void task(const std::string& name, int64_t done, int64_t total) override {
    if (done < total && !throttle_.ready()) return;
    draw(bar(done, total) + " " + format("%s %lld/%lld", name.c_str(), static_cast<long long>(done), static_cast<long long>(total)));
  }
  void finish() override {
    if (!drawn_) return;
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    drawn_ = false;
  }

 private:
  std::string bar(int64_t done, int64_t total) const {
    constexpr int kWidth = 20;
    const int filled = total > 0 ? static_cast<int>(kWidth * std::min(done, total) / total) : 0;
    std::string text = "[" + std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(kWidth - filled), '.') + "]";
    return color_ ? "\033[36m" + text + "\033[0m" : text;
  }
  /// A line wider than the terminal would wrap and leave its start behind: it is cut.
  void draw(std::string text) {
    winsize size{};
    const size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 120;
    const size_t escapes = color_ ? 9 : 0;
    if (text.size() > columns - 1 + escapes) text.resize(columns - 1 + escapes);
    std::fprintf(stderr, "\r%s\033[K", text.c_str());
    std::fflush(stderr);
    drawn_ = true;
  }

  Throttle throttle_{0.1};
  bool color_ = false;
  bool drawn_ = false;
};

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto s = static_cast<long long>(std::llround(seconds));
  if (s < 60) return format("%lld s", s);
  if (s < 3600) return format("%lld:%02lld", s / 60, s % 60);
  return format("%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

std::unique_ptr<Progress> make_progress(ProgressStyle style) {
  if (style == ProgressStyle::automatic) style = isatty(STDERR_FILENO) ? ProgressStyle::bar : ProgressStyle::lines;
  switch (style) {
    case ProgressStyle::bar: return std::make_unique<Bar>();
    case ProgressStyle::lines: return std::make_unique<Lines>();
    case ProgressStyle::json: return std::make_unique<Json>();
    default: return std::make_unique<Silent>();
  }
}

}  // namespace tern
