#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace tern {

struct AtomicFileOptions {
  /// Survive a power cut: fsync the file and its directory. Without it the file is still replaced as a whole, so
  /// that a killed process leaves the old or the new one.
  bool durable = true;
  /// What flushes a descriptor, 0 for success; null means fsync(2). Tests replace it to make it fail.
  int (*sync)(int fd) = nullptr;
};

/// A file that appears under its name whole or not at all: write(), sync(), optionally read temporary() back, commit().
///
/// The bytes go to `.NAME.tmp` in the same directory, which commit() renames over the old file. Whatever fails, the old
/// file is untouched and the temporary one is removed. What a killed process left is overwritten by the next writer;
/// a lock on it keeps two living writers apart. Every member throws Error naming the path and the system's reason.
/// After a throw only destruction is allowed: a failed fsync may have dropped the bytes, so it is never retried.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path, AtomicFileOptions options = {});
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);                      ///< appends
  void write_at(uint64_t offset, std::span<const std::byte> bytes);  ///< overwrites bytes already written
  /// Flushes to the disk (if durable) and drops the cached pages, so that reading temporary() reads the disk.
  void sync();
  /// Gives the file its name. Calls sync() if it was not called since the last write.
  void commit();

  const std::filesystem::path& temporary() const { return temporary_; }
  uint64_t size() const { return size_; }

 private:
  void open_locked();
  void put(uint64_t offset, std::span<const std::byte> bytes);
  void sync_directory();
  [[noreturn]] void fail(const char* what, int error) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  AtomicFileOptions options_;
  int fd_ = -1;
  uint64_t size_ = 0;
  bool synced_ = false;
  bool committed_ = false;
};

/// Replaces the file `path` by `text`, as AtomicFile does; a durable one is read back and compared first.
/// Throws Error naming the path and the reason; the old file is then still there.
void write_file_atomically(const std::filesystem::path& path, std::string_view text, AtomicFileOptions options = {});

}  // namespace tern
