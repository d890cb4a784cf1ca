#include "tools/strict_json.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"

namespace tern {
namespace {

using nlohmann::json;

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxDepth = 32;
constexpr size_t kMaxKey = 100;  // every value keeps its path, so keys, depth and count are bounded together
constexpr size_t kMaxValues = 20000;

/// Input iterator that reports how far the lexer has read: the SAX events themselves carry no position.
class TrackedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  TrackedIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  TrackedIterator operator++(int) {
    TrackedIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const TrackedIterator& o) const { return at_ == o.at_; }
  bool operator!=(const TrackedIterator& o) const { return at_ != o.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

struct LineColumn {
  size_t line = 1, column = 1;
};

LineColumn locate(std::string_view text, size_t offset) {
  offset = std::min(offset, text.size());
  const std::string_view before = text.substr(0, offset);
  const size_t newline = before.rfind('\n');
  return {1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n')),
          newline == std::string_view::npos ? offset + 1 : offset - newline};
}

[[noreturn]] void fail_at(const std::string& source, std::string_view text, size_t offset, const std::string& what) {
  const LineColumn at = locate(text, offset);
  throw ConfigError(source + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " + what);
}

void check_characters(std::string_view text, const std::string& source) {
  const size_t bad = find_bad_utf8(text).value_or(std::string_view::npos);
  // The parser takes a NUL for the end of input: what follows it would be ignored in silence.
  const size_t nul = text.find('\0');
  if (nul < bad) fail_at(source, text, nul, "a NUL byte in JSON");
  if (bad != std::string_view::npos) fail_at(source, text, bad, "not UTF-8");
}

/// Builds the value from SAX events, refusing duplicate keys and deep nesting on the way.
class Builder : public nlohmann::json_sax<json> {
 public:
  Builder(std::string_view text, StrictJson& out) : furthest_(text.data()), text_(text), out_(out) {}

  const char** furthest() { return &furthest_; }

  bool null() override { return put(nullptr), true; }
  bool boolean(bool v) override { return put(v), true; }
  bool number_integer(number_integer_t v) override { return put(v, kNumber), true; }
  bool number_unsigned(number_unsigned_t v) override { return put(v, kNumber), true; }
  bool number_float(number_float_t v, const string_t&) override { return put(v, kNumber), true; }
  bool string(string_t& v) override { return put(v), true; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Frame& frame = open_.back();
    if (name.size() > kMaxKey) fail_here("a key of " + std::to_string(name.size()) + " bytes, wanted at most 100");
    if (frame.value->contains(name)) {
      const std::string path = join_path(frame.path, name);
      fail_here(path + ": the key occurs twice (first at " + out_.origins[path] + ")");
    }
    frame.key = name;
    out_.origins[join_path(frame.path, name)] = here(kOther);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception& e) override {
    std::string what = e.what();
    for (const std::string_view mark : {"] ", ": syntax error "}) {
      if (const size_t at = what.find(mark); at != std::string::npos) what = what.substr(at + mark.size());
    }
    fail_at(out_.source, text_, position == 0 ? 0 : position - 1, "not valid JSON: " + what);
  }

 private:
  enum Token { kNumber, kOther };
  struct Frame {
    json* value;
    std::string path;
    std::string key;  // the member that the next value belongs to
  };

  [[noreturn]] void fail_here(const std::string& what) const { fail_at(out_.source, text_, consumed() - 1, what); }
  size_t consumed() const { return static_cast<size_t>(furthest_ - text_.data()); }

  /// `FILE:LINE` of the last token. A number is known to have ended only once the character after it was read.
  std::string here(Token token) {
    size_t last = consumed();
    if (token == kNumber) {
      while (last > 0 && !std::isdigit(static_cast<unsigned char>(text_[last - 1]))) --last;
    }
    line_ += static_cast<size_t>(std::count(text_.begin() + counted_, text_.begin() + last, '\n'));
    counted_ = static_cast<std::ptrdiff_t>(last);
    return out_.source + ":" + std::to_string(line_);
  }

  json* put(json v, Token token = kOther) {
    const std::string origin = here(token);
    if (++values_ > kMaxValues) fail_here("more than " + std::to_string(kMaxValues) + " values");
    if (open_.empty()) {
      out_.origins[""] = origin;
      out_.value = std::move(v);
      return &out_.value;
    }
    Frame& frame = open_.back();
    if (frame.value->is_object()) return &((*frame.value)[frame.key] = std::move(v));
    out_.origins[join_path(frame.path, std::to_string(frame.value->size()))] = origin;
    frame.value->push_back(std::move(v));
    return &frame.value->back();
  }

  bool open(json container) {
    if (open_.size() == kMaxDepth) fail_here("nested deeper than " + std::to_string(kMaxDepth));
    std::string path;
    if (!open_.empty()) {
      const Frame& frame = open_.back();
      path = join_path(frame.path, frame.value->is_object() ? frame.key : std::to_string(frame.value->size()));
    }
    json* value = put(std::move(container));
    open_.push_back({value, std::move(path), {}});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const char* furthest_;
  std::string_view text_;
  StrictJson& out_;
  std::vector<Frame> open_;
  size_t values_ = 0;
  size_t line_ = 1;
  std::ptrdiff_t counted_ = 0;
};

}  // namespace

const std::string& StrictJson::origin(std::string_view path) const {
  for (std::string at(path);;) {
    if (const auto it = origins.find(at); it != origins.end()) return it->second;
    if (at.empty()) return source;
    const size_t dot = at.rfind('.');
    at.resize(dot == std::string::npos ? 0 : dot);
  }
}

std::string join_path(std::string_view parent, std::string_view key) {
  std::string path(parent);
  if (!path.empty()) path += '.';
  return path += key;
}

StrictJson parse_strict_json(std::string_view text, const std::string& source) {
  StrictJson out;
  out.source = source;
  if (text.size() > kMaxBytes) {
    throw ConfigError(source + ": " + std::to_string(text.size()) + " bytes, wanted at most " +
                      std::to_string(kMaxBytes));
  }
  check_characters(text, source);
  Builder builder(text, out);
  const char* end = text.data() + text.size();
  json::sax_parse(TrackedIterator(text.data(), builder.furthest()), TrackedIterator(end, builder.furthest()), &builder);
  return out;
}

StrictJson read_strict_json(const std::string& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) throw ConfigError(file + ": is a directory, wanted a JSON file");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) throw ConfigError(file + ": cannot be read: " + std::strerror(errno != 0 ? errno : EIO));
  std::string text(kMaxBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxBytes) throw ConfigError(file + ": wanted at most " + std::to_string(kMaxBytes) + " bytes");
  return parse_strict_json(text, file);
}

}  // namespace tern
