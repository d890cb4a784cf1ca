#include "nn/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "core/error.h"
#include "core/utf8.h"

namespace tern::safetensors {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are read and written without swapping bytes");

using nlohmann::json;

struct Code {
  std::string_view code;
  DType dtype;
};
constexpr Code kCodes[] = {{"F64", DType::f64}, {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16},
                           {"I64", DType::i64}, {"I32", DType::i32}, {"U8", DType::u8}};
constexpr const char* kCodeList = "F64 F32 F16 BF16 I64 I32 U8";

// Types that the format knows and tern does not: the file is sound, and the message should say so.
constexpr std::string_view kOtherCodes[] = {"BOOL",    "I8",  "I16",     "U16",         "U32",
                                            "U64",     "C64", "F8_E4M3", "F8_E5M2",     "F8_E8M0",
                                            "F6_E2M3", "F4",  "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};

/// Follows the JSON as nlohmann's parser meets it. A document tree would silently keep the last of two equal keys, and
/// would be built before it could be checked.
class HeaderParser : public nlohmann::json_sax<json> {
 public:
  explicit HeaderParser(const std::string& file) : file_(file) {}

  struct Found {
    TensorEntry entry;
    uint64_t begin, end;  // as the file gives them: from the end of the header
  };
  std::vector<Found> tensors;
  std::map<std::string, uint32_t> checksums;
  Metadata metadata;

  bool null() override { unexpected("null"); }
  bool boolean(bool value) override { unexpected(value ? "true" : "false"); }
  bool number_integer(json::number_integer_t value) override { unexpected(std::to_string(value)); }
  bool number_float(json::number_float_t, const json::string_t& text) override { unexpected(text.substr(0, 40)); }
  bool binary(json::binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(json::number_unsigned_t value) override {
    if (state_ == State::shape) {
      if (shape_.size() == Shape::kMaxRank) fail("shape has more than " + std::to_string(Shape::kMaxRank) + " axes");
      if (value > static_cast<uint64_t>(INT64_MAX))
        fail("shape has an extent of " + std::to_string(value) + ", more than 2^63-1");
      shape_.push_back(static_cast<int64_t>(value));
    } else if (state_ == State::offsets) {
      if (offsets_.size() == 2) fail("data_offsets has more than 2 numbers");
      offsets_.push_back(value);
    } else {
      unexpected(std::to_string(value));
    }
    return true;
  }

  bool string(json::string_t& value) override {
    if (state_ == State::metadata) {
      add_metadata(value);
    } else if (state_ == State::tensor && key_ == "dtype") {
      dtype_ = checked_dtype(value);
    } else {
      unexpected("the string " + in_quotes(value));
    }
    return true;
  }

  bool start_object(size_t) override {
    if (state_ == State::start) {
      state_ = State::top;
    } else if (state_ == State::value) {
      state_ = name_ == kMetadataKey ? State::metadata : State::tensor;
      inner_keys_.clear();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(json::string_t& key) override {
    if (state_ == State::top) {
      if (!names_.insert(key).second) throw DataError(file_ + ": header has the key " + in_quotes(key) + " twice");
      name_ = key;
      state_ = State::value;
      return true;
    }
    if (!inner_keys_.insert(key).second) fail("has the key " + in_quotes(key) + " twice");
    if (state_ == State::tensor && key != "dtype" && key != "shape" && key != "data_offsets")
      fail("unknown key " + in_quotes(key) + ", wanted only dtype, shape and data_offsets");
    key_ = key;
    return true;
  }

  bool end_object() override {
    if (state_ == State::tensor) add_tensor();
    state_ = State::top;
    return true;
  }

  bool start_array(size_t) override {
    if (state_ == State::tensor && key_ == "shape") {
      state_ = State::shape;
      shape_.clear();
    } else if (state_ == State::tensor && key_ == "data_offsets") {
      state_ = State::offsets;
      offsets_.clear();
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::offsets && offsets_.size() != 2)
      fail("data_offsets has " + std::to_string(offsets_.size()) + " numbers, wanted 2");
    state_ = State::tensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const size_t at = kLengthBytes + (position > 0 ? position - 1 : 0);
    throw DataError(file_ + ": header is not JSON at byte " + std::to_string(at) + ": " +
                    std::string(error.what()).substr(0, 200));
  }

 private:
  enum class State { start, top, value, metadata, tensor, shape, offsets };

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(file_ + ": " + (name_ == kMetadataKey ? name_ : "tensor " + in_quotes(name_)) + ": " + what);
  }

  [[noreturn]] void unexpected(const std::string& got) const {
    switch (state_) {
      case State::metadata: fail("the value of " + in_quotes(key_) + " is " + got + ", wanted a string");
      case State::tensor: fail(key_ + " is " + got + ", wanted " + (key_ == "dtype" ? "a string" : "an array"));
      case State::shape: fail("shape holds " + got + ", wanted whole numbers from 0");
      case State::offsets: fail("data_offsets holds " + got + ", wanted whole numbers from 0");
      default: fail("is " + got + ", wanted an object");
    }
  }

  DType checked_dtype(const std::string& code) const {
    for (const Code& known : kCodes)
      if (known.code == code) return known.dtype;
    if (std::ranges::find(kOtherCodes, code) != std::end(kOtherCodes))
      fail("dtype " + code + " is not supported by tern, wanted one of " + kCodeList);
    fail("unknown dtype " + in_quotes(code) + ", wanted one of " + kCodeList);
  }

  void add_metadata(const std::string& value) {
    if (!key_.starts_with(kChecksumPrefix)) {
      metadata.emplace(key_, value);
      return;
    }
    uint32_t crc = 0;
    const char* end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, crc, 16);
    if (value.size() != 8 || error != std::errc() || stop != end)
      fail("the value of " + in_quotes(key_) + " is " + in_quotes(value) + ", wanted 8 hexadecimal digits");
    checksums.emplace(key_.substr(kChecksumPrefix.size()), crc);
  }

  void add_tensor() {
    for (const char* key : {"dtype", "shape", "data_offsets"})
      if (!inner_keys_.contains(key)) fail(std::string(key) + " is missing");
    const uint64_t begin = offsets_[0];
    const uint64_t end = offsets_[1];
    const std::string range = "data_offsets [" + std::to_string(begin) + ", " + std::to_string(end) + "]";
    if (begin > end) fail(range + " end before they begin");
    TensorEntry entry{name_, Spec{dtype_, checked_shape()}, 0, std::nullopt};
    uint64_t wanted = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(entry.spec.numel()), size_of(dtype_), &wanted))
      fail(entry.spec.str() + " has more than 2^64 bytes");
    if (end - begin != wanted)
      fail(range + " hold " + std::to_string(end - begin) + " bytes, but " + entry.spec.str() + " takes " +
           std::to_string(wanted));
    tensors.push_back({std::move(entry), begin, end});
  }

  Shape checked_shape() const {
    try {
      return Shape(std::span<const int64_t>(shape_));
    } catch (const ShapeError&) {
      std::string text;
      for (int64_t extent : shape_) text += (text.empty() ? "" : ", ") + std::to_string(extent);
      fail("shape [" + text + "] has more than 2^62 elements");
    }
  }

  const std::string& file_;
  State state_ = State::start;
  std::string name_;                  // the top-level key we are in
  std::string key_;                   // the key inside it
  std::set<std::string> names_;       // top-level keys so far
  std::set<std::string> inner_keys_;  // keys of the current object so far
  DType dtype_ = DType::f32;
  std::vector<int64_t> shape_;
  std::vector<uint64_t> offsets_;
};

/// The JSON text of the header, once its length fits the file and its first byte and encoding are right.
std::string_view header_text(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kLengthBytes)
    throw DataError(name + ": has " + std::to_string(file.size()) + " bytes, a safetensors file at least 8");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  const std::string header = name + ": header of " + std::to_string(length) + " bytes ";
  if (length > kMaxHeader)
    throw DataError(header + "is too long, at most " + std::to_string(kMaxHeader) + " are allowed");
  if (length > file.size() - kLengthBytes)
    throw DataError(header + "goes past the end of the file (" + std::to_string(file.size()) + " bytes)");
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, static_cast<size_t>(length));
  if (text.empty()) throw DataError(name + ": header is empty, wanted a JSON object");
  if (text[0] != '{') throw DataError(name + ": header starts with " + in_quotes(text.substr(0, 1)) + ", wanted '{'");
  if (const auto bad = find_bad_utf8(text))
    throw DataError(name + ": header is not UTF-8 at byte " + std::to_string(kLengthBytes + *bad));
  return text;
}

/// The tensors, sorted, must tile the bytes after the header: no hole, no overlap, nothing left over.
void check_tiling(std::span<const HeaderParser::Found> tensors, uint64_t data_size, const std::string& file) {
  uint64_t expected = 0;
  const std::string* previous = nullptr;
  for (const auto& [entry, begin, end] : tensors) {
    const std::string tensor = file + ": tensor " + in_quotes(entry.name) + ": ";
    const std::string starts = "starts at byte " + std::to_string(begin) + " of the data";
    if (end > data_size)
      throw DataError(tensor + "ends at byte " + std::to_string(end) + " of the data, which has " +
                      std::to_string(data_size));
    if (!previous && begin != 0) throw DataError(tensor + starts + " though it is the first, wanted 0");
    if (begin < expected)
      throw DataError(tensor + starts + " and overlaps " + in_quotes(*previous) + ", which ends at " +
                      std::to_string(expected));
    if (begin > expected)
      throw DataError(tensor + starts + " and leaves a hole after " + in_quotes(*previous) + ", which ends at " +
                      std::to_string(expected));
    expected = end;
    previous = &entry.name;
  }
  if (expected != data_size)
    throw DataError(file + ": " + std::to_string(data_size - expected) + " bytes follow the last tensor");
}

}  // namespace

Header read_header(std::span<const std::byte> file, const std::string& file_name) {
  const std::string_view text = header_text(file, file_name);
  HeaderParser parsed(file_name);
  json::sax_parse(text.begin(), text.end(), &parsed);

  std::ranges::sort(parsed.tensors, [](const HeaderParser::Found& a, const HeaderParser::Found& b) {
    return std::tie(a.begin, a.end, a.entry.name) < std::tie(b.begin, b.end, b.entry.name);
  });
  const uint64_t data_begin = kLengthBytes + text.size();
  check_tiling(parsed.tensors, file.size() - data_begin, file_name);

  Header header;
  header.metadata = std::move(parsed.metadata);
  header.entries.reserve(parsed.tensors.size());
  for (HeaderParser::Found& found : parsed.tensors) {
    TensorEntry& entry = header.entries.emplace_back(std::move(found.entry));
    entry.offset = data_begin + found.begin;
    if (const auto checksum = parsed.checksums.find(entry.name); checksum != parsed.checksums.end()) {
      entry.crc32c = checksum->second;
      parsed.checksums.erase(checksum);
    }
  }
  if (!parsed.checksums.empty())
    throw DataError(file_name + ": __metadata__: checksum of tensor " + in_quotes(parsed.checksums.begin()->first) +
                    ", which is not in the file");
  return header;
}

std::string write_header(std::span<const TensorEntry> entries, const Metadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  nlohmann::ordered_json meta = metadata;
  for (const TensorEntry& entry : entries) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", entry.crc32c.value_or(0));
    meta[std::string(kChecksumPrefix) + entry.name] = digits;
  }
  if (!meta.empty()) header[std::string(kMetadataKey)] = std::move(meta);
  uint64_t begin = 0;
  for (const TensorEntry& entry : entries) {
    const auto code = std::ranges::find(kCodes, entry.spec.dtype, &Code::dtype);
    const uint64_t end = begin + entry.spec.bytes();
    header[entry.name] = {{"dtype", code->code}, {"shape", entry.spec.shape.extents()}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, kLengthBytes);
  return bytes + text;
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kLongest = 120;
  const bool cut = text.size() > kLongest;
  const json value = std::string(text.substr(0, kLongest)) + (cut ? "..." : "");
  std::string result = value.dump(-1, ' ', false, json::error_handler_t::replace);
  result.front() = result.back() = '\'';
  return result;
}

}  // namespace tern::safetensors
