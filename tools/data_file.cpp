#include "tools/data_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "core/error.h"

namespace tern::data {
namespace {

std::string failed(const std::filesystem::path& path, std::string_view action, int code) {
  return path.string() + ": " + std::string(action) + ": " + std::generic_category().message(code);
}

}  // namespace

File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File File::open(const std::filesystem::path& path) {
  // O_NONBLOCK: a named pipe in the data set's place must be refused, not waited for.
  File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), path);
  if (file.fd_ < 0) throw DataError(failed(path, "cannot open", errno));
  struct stat info {};
  if (::fstat(file.fd_, &info) != 0) throw DataError(failed(path, "cannot inspect", errno));
  if (S_ISDIR(info.st_mode)) throw DataError(path.string() + " is a directory, wanted a file");
  if (!S_ISREG(info.st_mode)) throw DataError(path.string() + " is no regular file");
  return file;
}

File File::create(const std::filesystem::path& path) {
  File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644), path);
  if (file.fd_ < 0) throw Error(failed(path, "cannot create", errno));
  return file;
}

File File::open_locked(const std::filesystem::path& path) {
  File file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644), path);
  if (file.fd_ < 0) throw Error(failed(path, "cannot open for writing", errno));
  if (::flock(file.fd_, LOCK_EX | LOCK_NB) != 0) throw Error(failed(path, "another process is writing it", errno));
  if (::lseek(file.fd_, 0, SEEK_END) < 0) throw Error(failed(path, "cannot seek", errno));
  return file;
}

int64_t File::size() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) throw DataError(failed(path_, "cannot inspect", errno));
  return info.st_size;
}

size_t File::read_at(int64_t offset, std::span<uint8_t> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd_, out.data() + done, out.size() - done, offset + static_cast<int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw DataError(failed(path_, "cannot read at byte " + std::to_string(offset), errno));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

void File::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(failed(path_, "cannot write", errno));
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void File::write(std::string_view text) {
  write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

void File::truncate(int64_t bytes) {
  if (::ftruncate(fd_, bytes) != 0 || ::lseek(fd_, bytes, SEEK_SET) < 0) {
    throw Error(failed(path_, "cannot truncate", errno));
  }
}

void File::commit() {
  const bool synced = ::fsync(fd_) == 0;
  const int sync_error = errno;
  const bool closed = ::close(std::exchange(fd_, -1)) == 0;
  if (!synced) throw Error(failed(path_, "cannot write", sync_error));
  if (!closed) throw Error(failed(path_, "cannot write", errno));
}

void rename_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) throw Error(from.string() + ": cannot rename to " + to.string() + ": " + error.message());
}

std::string with_commas(int64_t value) {
  std::string text = std::to_string(value);
  const size_t sign = value < 0 ? 1 : 0;
  for (size_t at = text.size(); at > 3 + sign;) text.insert(at -= 3, 1, ',');
  return text;
}

}  // namespace tern::data
