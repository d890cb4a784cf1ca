#pragma once
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

/// Numbers as little-endian bytes.
namespace tern::dist {

static_assert(std::endian::native == std::endian::little,
              "the wire format and the arenas it carries are little-endian");

template <class T>
concept Number = std::is_arithmetic_v<T> || std::is_enum_v<T>;

/// Writes into `at`, which the caller knows to be large enough.
template <Number T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
template <Number T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

class ByteWriter {
 public:
  template <Number T>
  void number(T value) {
    bytes(std::as_bytes(std::span(&value, 1)));
  }
  void bytes(std::span<const std::byte> source);
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

/// Reads what is there; once something was missing, everything is zeros and good() false.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> source) : left_(source) {}

  template <Number T>
  void number(T& value) {
    const std::span<const std::byte> source = bytes(sizeof value);
    value = source.empty() ? T{} : load<T>(source.data());
  }
  /// The next `count` bytes; none when there are fewer.
  std::span<const std::byte> bytes(size_t count) {
    if (count > left_.size()) fail();
    const std::span<const std::byte> taken = left_.first(good_ ? count : 0);
    left_ = left_.subspan(taken.size());
    return taken;
  }
  void fail() {
    good_ = false;
    left_ = {};
  }
  bool good() const { return good_; }
  /// Everything was there, and nothing is left.
  bool finished() const { return good_ && left_.empty(); }

 private:
  std::span<const std::byte> left_;
  bool good_ = true;
};

}  // namespace tern::dist
