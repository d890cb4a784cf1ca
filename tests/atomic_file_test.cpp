#include "core/atomic_file.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>

#include "core/crc32c.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "tests/catch.h"
#include "tests/file_size_limit.h"
#include "tests/temp_dir.h"

namespace tern {
namespace {

using test::FileSizeLimit;
using test::TempDir;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

size_t files_in(const std::filesystem::path& directory) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

int sync_calls = 0;
int failing_sync(int) {
  ++sync_calls;
  errno = EIO;
  return -1;
}
int counting_sync(int fd) {
  ++sync_calls;
  return ::fsync(fd);
}
int directory_failing_sync(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) return failing_sync(fd);
  return counting_sync(fd);
}

}  // namespace

TEST_CASE("crc32c: RFC 3720's vectors, and in parts as at once", "[crc32c]") {
  CHECK(crc32c({}) == 0);
  CHECK(crc32c(bytes_of("123456789")) == 0xe3069283u);
  const std::string zeros(32, '\0');
  const std::string ones(32, '\xff');
  CHECK(crc32c(bytes_of(zeros)) == 0x8a9136aau);
  CHECK(crc32c(bytes_of(ones)) == 0x62a8ab43u);
  const std::string text = "The quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= text.size(); ++cut)
    CHECK(crc32c(bytes_of(text.substr(cut)), crc32c(bytes_of(text.substr(0, cut)))) == crc32c(bytes_of(text)));
}

TEST_CASE("mapped file: contents, the empty file, and what it refuses", "[mapped_file]") {
  TempDir dir;
  write_file_atomically(dir / "full", "abc");
  write_file_atomically(dir / "empty", "");
  CHECK(MappedFile(dir / "full").bytes().size() == 3);
  CHECK(MappedFile(dir / "empty").bytes().empty());
  CHECK_THROWS_WITH(MappedFile(dir / "absent"), HasText("absent: cannot open: No such file"));
  CHECK_THROWS_WITH(MappedFile(dir.path()), HasText("is not a regular file"));
  CHECK_THROWS_AS(MappedFile(dir / "absent"), DataError);
}

TEST_CASE("atomic file: nothing shows before commit, everything after", "[atomic_file]") {
  for (bool durable : {true, false}) {
    TempDir dir;
    const auto path = dir / "file";
    write_file_atomically(path, "old", {.durable = durable});
    {
      AtomicFile file(path, {.durable = durable});
      file.write(bytes_of("new co"));
      file.write(bytes_of("ntents"));
      file.write_at(0, bytes_of("NEW"));
      CHECK(file.size() == 12);
      CHECK(text_of(path) == "old");
      file.commit();
      CHECK(text_of(path) == "NEW contents");
    }
    CHECK(text_of(path) == "NEW contents");
    CHECK(files_in(dir.path()) == 1);
  }
}

TEST_CASE("atomic file: given up, it leaves the old file and no temporary one", "[atomic_file]") {
  TempDir dir;
  write_file_atomically(dir / "file", "old");
  { AtomicFile(dir / "file").write(bytes_of("half")); }
  CHECK(text_of(dir / "file") == "old");
  CHECK(files_in(dir.path()) == 1);
}

TEST_CASE("atomic file: writing past the end is refused", "[atomic_file]") {
  TempDir dir;
  AtomicFile file(dir / "file");
  file.write(bytes_of("abc"));
  CHECK_THROWS_WITH(file.write_at(2, bytes_of("xy")), HasText("past the end"));
}

TEST_CASE("atomic file: file and directory are flushed once each, and not at all when not durable", "[atomic_file]") {
  TempDir dir;
  sync_calls = 0;
  write_file_atomically(dir / "file", "text", {.sync = counting_sync});
  CHECK(sync_calls == 2);
  write_file_atomically(dir / "file", "text", {.durable = false, .sync = counting_sync});
  CHECK(sync_calls == 2);
}

TEST_CASE("atomic file: a failed fsync fails the file, keeps the old one and is not retried", "[atomic_file]") {
  TempDir dir;
  const auto path = dir / "file";
  write_file_atomically(path, "old");
  sync_calls = 0;
  REQUIRE_THROWS_WITH(write_file_atomically(path, "new", {.sync = failing_sync}),
                      HasText(path.string() + ": cannot flush to the disk: Input/output error"));
  CHECK(sync_calls == 1);
  CHECK(text_of(path) == "old");
  CHECK(files_in(dir.path()) == 1);
  CHECK_THROWS_WITH(write_file_atomically(path, "new", {.sync = directory_failing_sync}),
                    HasText("cannot flush the directory: Input/output error"));
}

TEST_CASE("atomic file: what a killed writer left is overwritten", "[atomic_file]") {
  TempDir dir;
  std::ofstream(dir / ".file.tmp") << "a much longer leftover than the new text";
  write_file_atomically(dir / "file", "new");
  CHECK(text_of(dir / "file") == "new");
  CHECK(files_in(dir.path()) == 1);
}

TEST_CASE("atomic file: two writers of one file are kept apart", "[atomic_file]") {
  TempDir dir;
  AtomicFile first(dir / "file");
  first.write(bytes_of("first"));
  CHECK_THROWS_WITH(AtomicFile(dir / "file"), HasText("file: is being written by somebody else"));
  first.commit();
  CHECK(text_of(dir / "file") == "first");
}

TEST_CASE("atomic file: errors name the path and the reason", "[atomic_file]") {
  TempDir dir;
  CHECK_THROWS_WITH(AtomicFile(dir / "no/file"), HasText("no/file: cannot create the temporary file: No such file"));
  std::filesystem::create_directory(dir / "folder");
  CHECK_THROWS_WITH(write_file_atomically(dir / "folder", "x"), HasText("folder: cannot rename"));
  CHECK(files_in(dir.path()) == 1);
  CHECK_THROWS_WITH(AtomicFile(dir.path() / ""), HasText("names no file"));
}

TEST_CASE("atomic file: a file over the size limit keeps the old one", "[atomic_file]") {
  TempDir dir;
  const auto path = dir / "file";
  write_file_atomically(path, "old");
  std::string message;
  {
    const FileSizeLimit limit(64 << 10);
    try {
      write_file_atomically(path, std::string(100 << 10, 'x'));
    } catch (const Error& error) {
      message = error.what();
    }
  }
  CHECK(message == "[write] " + path.string() + ": cannot write: File too large");
  CHECK(text_of(path) == "old");
  CHECK(files_in(dir.path()) == 1);
}

TEST_CASE("atomic file: a full disk keeps the old file", "[atomic_file]") {
  TempDir dir;
  if (::mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=256k") != 0) SKIP("mounting a small tmpfs needs root");
  const auto path = dir / "file";
  std::string message, kept;
  size_t files = 0;
  try {
    write_file_atomically(path, "old");
    write_file_atomically(path, std::string(1 << 20, 'x'));
  } catch (const Error& error) {
    message = error.what();
  }
  kept = text_of(path);
  files = files_in(dir.path());
  // Space is free again once the temporary file is gone.
  write_file_atomically(path, std::string(100 << 10, 'y'));
  ::umount(dir.path().c_str());
  CHECK(message == "[write] " + path.string() + ": cannot write: No space left on device");
  CHECK(kept == "old");
  CHECK(files == 1);
}

}  // namespace tern
