#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

namespace tern {

/// A file that grows by whole records: one that finds no room (a full disk) is taken back, so that those behind it can be read.
class AppendFile {
 public:
  AppendFile() = default;  ///< no file
  /// Opens the file at its end, or makes it. Throws Error when it cannot be written.
  explicit AppendFile(const std::filesystem::path& path);
  ~AppendFile() { close(); }
  AppendFile(AppendFile&& other) noexcept { *this = std::move(other); }
  AppendFile& operator=(AppendFile&& other) noexcept;

  /// Hands the record to the system, so that it outlives a killed process. False: nothing of it is in the file.
  bool append(std::string_view record);
  void close();
  bool is_open() const { return fd_ >= 0; }
  /// Bytes of whole records.
  uint64_t size() const { return size_; }

 private:
  int fd_ = -1;
  uint64_t size_ = 0;
  bool torn_ = false;  // something of a record may lie behind size_
};

}  // namespace tern
