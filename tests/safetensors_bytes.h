#pragma once
#include <cstdint>
#include <cstring>
#include <string>

/// Safetensors files as bytes, for tests of what the reader refuses.
namespace tern::test {

/// Length, header, `data` bytes.
inline std::string file_of(const std::string& header, size_t data = 0) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data, 'x');
}

/// A header that claims `length` bytes, of which only "{}" are there.
inline std::string claims(uint64_t length) {
  std::string bytes = file_of("{}");
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

}  // namespace tern::test
