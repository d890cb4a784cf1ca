#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace tern::data {

/// An open regular file. Reads are positional, so several threads may share one.
class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  /// Opens for reading. Throws DataError when the file is missing, unreadable or no regular file.
  static File open(const std::filesystem::path& path);
  /// Creates or empties a file. Throws Error (no space, no permission ...).
  static File create(const std::filesystem::path& path);
  /// Opens for reading and appending, creating the file when it is missing, and takes an exclusive lock on it.
  /// Throws Error when that fails or when another process holds the lock.
  static File open_locked(const std::filesystem::path& path);

  /// Size in bytes now.
  int64_t size() const;
  /// Fills `out` from `offset`; returns the bytes read, fewer than asked only at the end of the file. Throws DataError.
  size_t read_at(int64_t offset, std::span<uint8_t> out) const;
  /// Writes all of `bytes` at the file's position. Throws Error naming the file and the cause, such as a full disk.
  void write(std::span<const uint8_t> bytes);
  void write(std::string_view text);
  /// Cuts the file to `bytes` and moves the position there. Throws Error.
  void truncate(int64_t bytes);
  /// Forces the contents to the disk and closes; write errors that were held back show here. Throws Error.
  void commit();

  const std::filesystem::path& path() const { return path_; }

 private:
  File(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::filesystem::path path_;
};

/// Moves a file over another in one step. Throws Error.
void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// "170,052,171": for messages.
std::string with_commas(int64_t value);

}  // namespace tern::data
