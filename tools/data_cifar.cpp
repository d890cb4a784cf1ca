#include "tools/data_cifar.h"

#include <array>
#include <utility>
#include <vector>

#include "core/utf8.h"
#include "tools/data_file.h"

namespace tern::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 5> kTrain10 = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                                      "data_batch_4.bin", "data_batch_5.bin"};
constexpr std::array<std::string_view, 1> kTest10 = {"test_batch.bin"};
constexpr std::array<std::string_view, 1> kTrain100 = {"train.bin"};
constexpr std::array<std::string_view, 1> kTest100 = {"test.bin"};

constexpr CifarFormat kFormats[] = {
    {.name = "cifar10",
     .folder = "cifar-10-batches-bin",
     .train_files = kTrain10,
     .test_files = kTest10,
     .names_file = "batches.meta.txt",
     .label_bytes = 1,
     .classes = 10,
     .coarse_classes = 0,
     .synthetic = false,
     .url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
     .md5 = "c32a1d4ab5d03f1284b67883e8d87530",
     .sha256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
     .archive_bytes = 170052171},
    {.name = "cifar100",
     .folder = "cifar-100-binary",
     .train_files = kTrain100,
     .test_files = kTest100,
     .names_file = "fine_label_names.txt",
     .label_bytes = 2,
     .classes = 100,
     .coarse_classes = 20,
     .synthetic = false,
     .url = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
     .md5 = "03b5dce01913d631647c71ecec9e9cb8",
     .sha256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
     .archive_bytes = 0},
    {.name = "synthetic",
     .folder = "synthetic",
     .train_files = kTrain10,
     .test_files = kTest10,
     .names_file = "batches.meta.txt",
     .label_bytes = 1,
     .classes = 10,
     .coarse_classes = 0,
     .synthetic = true,
     .url = "",
     .md5 = "",
     .sha256 = "",
     .archive_bytes = 0},
};

constexpr PictureShape kPicture = {32, 32, 3};
constexpr int64_t kPlane = 32 * 32;

/// "[cifar10] ": how every message here begins.
std::string tag(const CifarFormat& format) { return "[" + std::string(format.name) + "] "; }

bool present(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool holds_any(const fs::path& folder, const CifarFormat& format) {
  for (const auto files : {format.train_files, format.test_files}) {
    for (const std::string_view file : files) {
      if (present(folder / file)) return true;
    }
  }
  return false;
}

std::string file_list(const CifarFormat& format) {
  std::string list;
  for (const auto files : {format.train_files, format.test_files}) {
    for (const std::string_view file : files) list += (list.empty() ? "" : " ") + std::string(file);
  }
  return list;
}

/// How to get the data, with a network and without.
std::string ways(const CifarFormat& format, const fs::path& dir) {
  const std::string name(format.name);
  const std::string folder = (dir / format.folder).string();
  if (format.synthetic) return "\n  make it:  trainer data synth --dir " + dir.string() + "  (writes " + folder + ")";
  const std::string fetch = "trainer data fetch " + name + " --dir " + dir.string();
  std::string size;
  if (format.archive_bytes > 0) size = with_commas(format.archive_bytes) + " bytes, ";
  return "\n  download: " + fetch + "\n  from:     " + std::string(format.url) + "  (" + size + "md5 " +
         std::string(format.md5) + ")\n  offline:  copy " + std::string(format.archive()) + " into " + dir.string() +
         " and run the same command, which then checks and unpacks it without a network;\n" + "            or copy " +
         file_list(format) + "\n            into " + folder;
}

/// The folder that holds the data set's files: DIR itself or DIR/folder.
fs::path locate(const CifarFormat& format, const fs::path& dir) {
  std::error_code ignored;
  if (present(dir) && !fs::is_directory(dir, ignored)) {
    throw DataError(tag(format) + dir.string() + " is no directory");
  }
  for (const fs::path& folder : {dir / format.folder, dir}) {
    if (!holds_any(folder, format)) continue;
    const bool marked = present(folder / kSyntheticMarker);
    if (marked && !format.synthetic) {
      throw DataError(
          tag(format) + folder.string() +
          " holds synthetic pictures (it has the file SYNTHETIC): set data.name to \"synthetic\" to train on them, or "
          "name the directory of the real ones" +
          ways(format, dir));
    }
    if (!marked && format.synthetic) {
      throw DataError(tag(format) + folder.string() +
                      " has no file SYNTHETIC, so its pictures are not synthetic: set "
                      "data.name to \"cifar10\" to train on them" +
                      ways(format, dir));
    }
    return folder;
  }
  throw DataMissing(tag(format) + "no data in " + dir.string() + ": neither there nor in " +
                    (dir / format.folder).string() + " is any of " + file_list(format) + ways(format, dir));
}

std::vector<std::string> read_names(const CifarFormat& format, const fs::path& path) {
  const File file = File::open(path);
  constexpr int64_t kMost = 1 << 16;
  if (file.size() > kMost) {
    throw DataError(tag(format) + path.string() + " has " + with_commas(file.size()) + " bytes, wanted a list of " +
                    std::to_string(format.classes) + " names");
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(file.size()));
  bytes.resize(file.read_at(0, bytes));
  if (const auto bad = find_bad_utf8({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) {
    throw DataError(tag(format) + path.string() + " is not UTF-8 at byte " + std::to_string(*bad) +
                    ", wanted a list of " + std::to_string(format.classes) + " names");
  }
  std::vector<std::string> names;
  std::string line;
  bytes.push_back('\n');
  for (const uint8_t c : bytes) {
    if (c != '\n') {
      if (c != '\r') line += static_cast<char>(c);
      continue;
    }
    if (!line.empty()) names.push_back(std::exchange(line, {}));
  }
  if (names.size() != static_cast<size_t>(format.classes)) {
    throw DataError(tag(format) + path.string() + " has " + std::to_string(names.size()) + " class names, wanted " +
                    std::to_string(format.classes));
  }
  return names;
}

class CifarDataset : public Dataset {
 public:
  CifarDataset(const CifarFormat& format, const fs::path& dir, Split split) : format_(format) {
    const fs::path folder = locate(format, dir);
    for (const std::string_view name : split == Split::kTrain ? format.train_files : format.test_files) {
      if (!present(folder / name)) {
        throw DataMissing(tag(format) + (folder / name).string() + " is missing, the data set is incomplete" +
                          ways(format, dir));
      }
      add_file(folder / name);
    }
    classes_ = read_names(format, folder / format.names_file);
  }

  std::string_view name() const override { return format_.name; }
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  PictureShape shape() const override { return kPicture; }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t index) const override { return labels_.at(static_cast<size_t>(index)); }

  void read(int64_t index, std::span<uint8_t> hwc) const override {
    if (static_cast<int64_t>(hwc.size()) != kPicture.bytes()) {
      throw ShapeError(tag(format_) + "a picture has 3072 bytes but the buffer " + std::to_string(hwc.size()));
    }
    const auto [file, record] = find(index);
    std::array<uint8_t, 3 * kPlane> planar;
    const int64_t offset = record * format_.record_bytes() + format_.label_bytes;
    const size_t got = file->read_at(offset, planar);
    if (got != planar.size()) {
      throw DataError(tag(format_) + where(index) + " (byte " + std::to_string(offset) + ") ends after " +
                      std::to_string(got) + " of 3072 pixel bytes: the file has shrunk since it was opened");
    }
    for (int64_t p = 0; p < kPlane; ++p) {
      for (int64_t c = 0; c < 3; ++c) hwc[static_cast<size_t>(3 * p + c)] = planar[static_cast<size_t>(c * kPlane + p)];
    }
  }

  std::string where(int64_t index) const override {
    const auto [file, record] = find(index);
    return file->path().string() + " record " + std::to_string(record);
  }

 private:
  struct Place {
    const File* file;
    int64_t record;
  };

  Place find(int64_t index) const {
    if (index < 0 || index >= size()) {
      throw DataError(tag(format_) + "picture " + std::to_string(index) + " of " + std::to_string(size()));
    }
    // Files hold equally many records.
    return {&files_[static_cast<size_t>(index / records_per_file_)], index % records_per_file_};
  }

  void add_file(const fs::path& path) {
    File file = File::open(path);
    const int64_t bytes = file.size();
    const int64_t record = format_.record_bytes();
    if (bytes == 0) throw DataError(tag(format_) + path.string() + " is empty");
    if (bytes % record != 0) {
      throw DataError(tag(format_) + path.string() + " has " + with_commas(bytes) + " bytes, not a multiple of the " +
                      std::to_string(record) + " bytes of a record: record " + std::to_string(bytes / record) +
                      " (byte " + std::to_string(bytes / record * record) + ") is cut off after " +
                      std::to_string(bytes % record));
    }
    if (files_.empty()) records_per_file_ = bytes / record;
    if (bytes / record != records_per_file_) {
      throw DataError(tag(format_) + path.string() + " has " + with_commas(bytes / record) + " records but " +
                      files_[0].path().filename().string() + " has " + with_commas(records_per_file_) +
                      ": one of them is cut off");
    }
    files_.push_back(std::move(file));
    for (int64_t i = 0; i < records_per_file_; ++i) labels_.push_back(read_label(files_.back(), i));
  }

  uint8_t read_label(const File& file, int64_t record) const {
    std::array<uint8_t, 2> labels{};
    const int64_t offset = record * format_.record_bytes();
    const auto wanted = static_cast<size_t>(format_.label_bytes);
    if (file.read_at(offset, std::span(labels).first(wanted)) != wanted) {
      throw DataError(tag(format_) + file.path().string() + " ends before record " + std::to_string(record));
    }
    for (size_t i = 0; i < wanted; ++i) {
      const int classes = i + 1 == wanted ? format_.classes : format_.coarse_classes;
      if (labels[i] >= classes) {
        throw DataError(tag(format_) + file.path().string() + ": record " + std::to_string(record) + " (byte " +
                        std::to_string(offset + static_cast<int64_t>(i)) + ") has " +
                        (i + 1 < wanted ? "coarse " : "") + "label " + std::to_string(labels[i]) + ", wanted 0.." +
                        std::to_string(classes - 1));
      }
    }
    return labels[wanted - 1];
  }

  const CifarFormat& format_;
  std::vector<File> files_;
  int64_t records_per_file_ = 0;
  std::vector<uint8_t> labels_;
  std::vector<std::string> classes_;
};

}  // namespace

const CifarFormat& cifar_format(std::string_view name) {
  for (const CifarFormat& format : kFormats) {
    if (format.name == name) return format;
  }
  throw ConfigError("[data] no data set \"" + std::string(name) + "\", wanted cifar10, cifar100, synthetic or folder");
}

DatasetPtr open_dataset(std::string_view name, const std::filesystem::path& dir, Split split) {
  return std::make_shared<CifarDataset>(cifar_format(name), dir, split);
}

}  // namespace tern::data
