#include <archive.h>
#include <archive_entry.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/data_fetch.h"
#include "tools/data_file.h"

namespace tern::data {
namespace {

namespace fs = std::filesystem;

/// CIFAR-100's training file, the largest there is, has 153,700,000 bytes: an archive that unpacks to more is no CIFAR.
constexpr int64_t kMostBytes = 256 << 20;

struct CloseArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchivePtr = std::unique_ptr<archive, CloseArchive>;

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw DataError("[unpack] " + path.string() + ": " + why);
}

/// Files are unpacked beside their final folder, and this removes them when something fails on the way.
struct TemporaryFolder {
  explicit TemporaryFolder(fs::path p) : path(std::move(p)) {
    std::error_code error;
    fs::remove_all(path, error);
    fs::create_directories(path, error);
    if (error) throw Error("[unpack] cannot create " + path.string() + ": " + error.message());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

/// Names inside the archive -> names in the folder.
std::map<std::string, std::string> wanted_entries(const CifarFormat& format) {
  std::map<std::string, std::string> wanted;
  const auto add = [&](std::string_view file) {
    wanted[std::string(format.folder) + "/" + std::string(file)] = std::string(file);
  };
  for (const std::string_view file : format.train_files) add(file);
  for (const std::string_view file : format.test_files) add(file);
  add(format.names_file);
  return wanted;
}

void write_entry(archive* reader, const fs::path& source, const std::string& name, const fs::path& target) {
  File file = File::create(target);
  std::vector<uint8_t> piece(1 << 16);
  int64_t written = 0;
  while (true) {
    const la_ssize_t n = archive_read_data(reader, piece.data(), piece.size());
    if (n < 0) refuse(source, name + ": " + archive_error_string(reader));
    if (n == 0) break;
    written += n;
    if (written > kMostBytes) refuse(source, name + " is larger than " + with_commas(kMostBytes) + " bytes");
    file.write(std::span(piece.data(), static_cast<size_t>(n)));
  }
  file.commit();
}

}  // namespace

void unpack(const CifarFormat& format, const fs::path& source, const fs::path& dir) {
  const ArchivePtr reader(archive_read_new());
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_tar(reader.get());
  if (archive_read_open_filename(reader.get(), source.c_str(), 1 << 16) != ARCHIVE_OK) {
    refuse(source, archive_error_string(reader.get()));
  }
  const fs::path folder = dir / format.folder;
  const TemporaryFolder temporary(folder.string() + ".unpacking");
  std::map<std::string, std::string> missing = wanted_entries(format);
  std::vector<std::string> unpacked;
  while (true) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(reader.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN) refuse(source, archive_error_string(reader.get()));
    const char* raw_name = archive_entry_pathname(entry);
    std::string name = raw_name == nullptr ? "" : raw_name;
    if (name.starts_with("./")) name.erase(0, 2);
    const auto found = missing.find(name);
    if (found == missing.end()) continue;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr) {
      refuse(source, name + " is no regular file");
    }
    write_entry(reader.get(), source, name, temporary.path / found->second);
    unpacked.push_back(found->second);
    missing.erase(found);
  }
  if (!missing.empty()) refuse(source, "it lacks " + missing.begin()->first);

  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error("[unpack] cannot create " + folder.string() + ": " + error.message());
  for (const std::string& file : unpacked) rename_file(temporary.path / file, folder / file);
}

}  // namespace tern::data
