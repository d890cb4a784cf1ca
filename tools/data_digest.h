#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tern::data {

/// Running SHA-256. Ref: FIPS 180-4.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::span<const uint8_t> bytes);
  void update(std::string_view text);
  /// 64 lower-case hexadecimal digits. The object is spent afterwards.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// SHA-256 of a file, read in pieces. Throws DataError when it cannot be read.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace tern::data
