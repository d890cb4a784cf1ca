#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tern {

/// A message in the wire format of protocol buffers: its fields in the order of the calls. Reading is not wanted anywhere,
/// and what is written (ONNX) has few kinds of fields, so this takes the place of a library with a compiler of its own.
/// Ref: https://protobuf.dev/programming-guides/encoding/
class ProtobufWriter {
 public:
  /// int32, int64, uint32, uint64, bool, enum. Negative numbers take ten bytes, as the format has it.
  void integer(int field, int64_t value) {
    key(field, kVarint);
    varint(static_cast<uint64_t>(value));
  }
  /// Of a repeated integer field, packed.
  void integers(int field, std::span<const int64_t> values) {
    ProtobufWriter list;
    for (const int64_t value : values) list.varint(static_cast<uint64_t>(value));
    message(field, list);
  }
  void number(int field, float value) {
    key(field, kFixed32);
    fixed(std::bit_cast<uint32_t>(value));
  }
  void number(int field, double value) {
    key(field, kFixed64);
    fixed(std::bit_cast<uint64_t>(value));
  }
  /// string, bytes
  void bytes(int field, std::string_view value) {
    key(field, kBytes);
    varint(value.size());
    data_ += value;
  }
  void message(int field, const ProtobufWriter& value) { bytes(field, value.data_); }

  const std::string& data() const { return data_; }

 private:
  enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  void key(int field, WireType type) { varint(static_cast<uint64_t>(field) << 3 | type); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) data_ += static_cast<char>(value | 0x80);
    data_ += static_cast<char>(value);
  }
  template <class T>
  void fixed(T value) {  // little-endian
    for (size_t i = 0; i < sizeof(T); ++i) data_ += static_cast<char>(value >> (8 * i));
  }

  std::string data_;
};

}  // namespace tern
