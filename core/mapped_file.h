#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace tern {

/// A regular file mapped read-only: its pages are read when touched and may be dropped again by the system.
/// A file that another program truncates meanwhile faults; files replaced by rename (AtomicFile) are safe.
class MappedFile {
 public:
  /// Throws DataError naming the path when it is absent, unreadable or no regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tern
