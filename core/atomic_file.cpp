#include "core/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/mapped_file.h"

namespace tern {

AtomicFile::AtomicFile(std::filesystem::path path, AtomicFileOptions options)
    : path_(std::move(path)), options_(options) {
  if (!path_.has_filename()) throw Error("[write] '" + path_.string() + "' names no file");
  temporary_ = path_.parent_path() / ("." + path_.filename().string() + ".tmp");
  if (!options_.sync) options_.sync = ::fsync;
  open_locked();
}

void AtomicFile::open_locked() {
  // Another writer may rename the file between our open and our lock: then it is no longer ours to write, try again.
  for (int attempt = 0; attempt < 100; ++attempt) {
    fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0) fail("cannot create the temporary file", errno);
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      ::close(fd_);
      if (error == EWOULDBLOCK) throw Error("[write] " + path_.string() + ": is being written by somebody else");
      fail("cannot lock the temporary file", error);
    }
    struct stat ours {
    }, named{};
    if (::fstat(fd_, &ours) == 0 && ::stat(temporary_.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
        ours.st_dev == named.st_dev) {
      if (::ftruncate(fd_, 0) == 0) return;
      const int error = errno;
      ::close(fd_);
      fail("cannot truncate the temporary file", error);
    }
    ::close(fd_);
  }
  throw Error("[write] " + path_.string() + ": is being written by somebody else, again and again");
}

AtomicFile::~AtomicFile() {
  if (!committed_) ::unlink(temporary_.c_str());  // before close: the lock says that it is ours
  if (fd_ >= 0) ::close(fd_);
}

void AtomicFile::fail(const char* what, int error) const {
  throw Error("[write] " + path_.string() + ": " + what + ": " + std::generic_category().message(error));
}

void AtomicFile::put(uint64_t offset, std::span<const std::byte> bytes) {
  synced_ = false;
  while (!bytes.empty()) {
    const size_t chunk = std::min<size_t>(bytes.size(), size_t{1} << 30);
    const ssize_t written = ::pwrite(fd_, bytes.data(), chunk, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("cannot write", written < 0 ? errno : ENOSPC);
    offset += static_cast<uint64_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  put(size_, bytes);
  size_ += bytes.size();
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  if (offset > size_ || bytes.size() > size_ - offset)
    throw Error("[write] " + path_.string() + ": write past the end");
  put(offset, bytes);
}

void AtomicFile::sync() {
  if (options_.durable) {
    if (options_.sync(fd_) != 0) fail("cannot flush to the disk", errno);
    ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  }
  synced_ = true;
}

void AtomicFile::commit() {
  if (!synced_) sync();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot rename the temporary file", errno);
  committed_ = true;
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0 && errno != EINTR) fail("cannot close", errno);
  if (options_.durable) sync_directory();
}

void AtomicFile::sync_directory() {
  const std::filesystem::path parent = path_.parent_path();
  const int fd = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("cannot open the directory", errno);
  const int status = options_.sync(fd);
  const int error = errno;
  ::close(fd);
  // EINVAL: this file system does not flush directories, and nothing more can be done.
  if (status != 0 && error != EINVAL) fail("cannot flush the directory", error);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text, AtomicFileOptions options) {
  AtomicFile file(path, options);
  file.write(std::as_bytes(std::span(text)));
  file.sync();
  if (options.durable) {
    const MappedFile copy(file.temporary());
    if (!std::ranges::equal(copy.bytes(), std::as_bytes(std::span(text))))
      throw Error("[write] " + path.string() + ": what was written reads back differently");
  }
  file.commit();
}

}  // namespace tern
