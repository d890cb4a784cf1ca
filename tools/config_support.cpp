#include <charconv>
#include <cmath>

#include "tools/config_table.h"
#include "tools/json_text.h"

namespace tern::config_table {
namespace {

/// Shortest text of `v`: 0.5, 1, 1e-08, 2^64.
std::string number_text(double v) {
  if (v == 0x1p64) return "2^64";
  if (std::abs(v) < 0x1p53 && v == std::floor(v)) return std::to_string(static_cast<int64_t>(v));
  return json(v).dump();
}

}  // namespace

void Place::fail(const std::string& what) const {
  const std::string where = path.empty() ? "the config" : path;
  throw ConfigError(document->origin(path) + ": " + where + ": " + what);
}

void Place::fail_type(const json& got, const std::string& wanted) const {
  constexpr size_t kLongest = 60;
  std::string text;
  if (got.is_object()) {
    text = "an object";
  } else if (got.is_array()) {
    text = "a list of " + std::to_string(got.size());
  } else {
    text = json_text(got);
  }
  if (text.size() > kLongest) {
    size_t cut = kLongest;
    while ((static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;  // between characters
    text = text.substr(0, cut) + "...";
  }
  fail("got " + text + ", wanted " + wanted + (or_null ? ", or null" : ""));
}

bool Rule::allows(double v) const { return (open_lo ? v > lo : v >= lo) && (open_hi ? v < hi : v <= hi); }

std::string Rule::text() const {
  const bool below = std::isfinite(lo), limited = std::isfinite(hi);
  if (below && limited) {
    if (!open_lo && !open_hi) return " from " + number_text(lo) + " to " + number_text(hi);
    const std::string first = (open_lo ? " above " : " of at least ") + number_text(lo);
    return first + (open_hi ? " and below " : " and at most ") + number_text(hi);
  }
  if (below) return (open_lo ? " above " : " of at least ") + number_text(lo);
  if (limited) return (open_hi ? " below " : " of at most ") + number_text(hi);
  return "";
}

void Rule::describe(ordered_json& schema) const {
  const auto put = [&](const char* key, double v) {
    if (!std::isfinite(v)) return;
    if (v == std::floor(v) && std::abs(v) < 0x1p53) {
      schema[key] = static_cast<int64_t>(v);
    } else {
      schema[key] = v;
    }
  };
  put(open_lo ? "exclusiveMinimum" : "minimum", lo);
  put(open_hi ? "exclusiveMaximum" : "maximum", hi);
}

NonfinitePolicy Codec<NonfinitePolicy>::read(const json& v, const Place& at, const Rule& rule) {
  const std::string text = v.is_string() ? v.get<std::string>() : std::string();
  if (text == "stop") return {};
  constexpr std::string_view kSkip = "skip:";
  int skips = 0;
  const char* end = text.data() + text.size();
  const bool digits = text.starts_with(kSkip) && text.size() > kSkip.size() && text[kSkip.size()] != '0';
  if (!digits) at.fail_type(v, words(rule));
  const auto [stop, error] = std::from_chars(text.data() + kSkip.size(), end, skips);
  if (error != std::errc{} || stop != end || skips < 1 || skips > 1000000) at.fail_type(v, words(rule));
  return {.skips = skips};
}

}  // namespace tern::config_table
