#include "tools/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace tern {

AppendFile::AppendFile(const std::filesystem::path& path) {
  fd_ = ::open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0666);
  const off_t end = fd_ < 0 ? -1 : ::lseek(fd_, 0, SEEK_END);
  if (end < 0) {
    const int error = errno;
    close();
    throw Error(path.string() + ": cannot be written: " + std::generic_category().message(error));
  }
  size_ = static_cast<uint64_t>(end);
}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::exchange(other.fd_, -1);
  size_ = other.size_;
  torn_ = other.torn_;
  return *this;
}

bool AppendFile::append(std::string_view record) {
  const auto take_back = [this] { return torn_ = ::ftruncate(fd_, static_cast<off_t>(size_)) != 0; };
  if (fd_ < 0 || (torn_ && take_back())) return false;
  std::string_view rest = record;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      take_back();
      return false;
    }
    rest.remove_prefix(static_cast<size_t>(written));
  }
  size_ += record.size();
  return true;
}

void AppendFile::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace tern
