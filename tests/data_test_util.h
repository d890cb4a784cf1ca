#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/temp_dir.h"
#include "tools/data_cifar.h"
#include "tools/data_set.h"

namespace tern::data::testing {

using TemporaryDir = test::TempDir;

inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Pixel of the made-up records below.
inline uint8_t pixel_of(int64_t record, int64_t plane, int64_t y, int64_t x) {
  return static_cast<uint8_t>(record * 31 + plane * 101 + y * 7 + x * 3);
}

/// `records` records whose fine label is (first + i) % classes and whose pixels are pixel_of(first + i, ...).
inline std::string cifar_records(const CifarFormat& format, int64_t first, int64_t records) {
  std::string bytes;
  for (int64_t r = first; r < first + records; ++r) {
    if (format.label_bytes == 2) bytes += static_cast<char>(r % format.coarse_classes);
    bytes += static_cast<char>(r % format.classes);
    for (int64_t plane = 0; plane < 3; ++plane) {
      for (int64_t y = 0; y < 32; ++y) {
        for (int64_t x = 0; x < 32; ++x) bytes += static_cast<char>(pixel_of(r, plane, y, x));
      }
    }
  }
  return bytes;
}

/// The files of a small sound data set in DIR/folder; returns that folder.
inline std::filesystem::path write_cifar(const CifarFormat& format, const std::filesystem::path& dir,
                                         int64_t records_per_file) {
  const std::filesystem::path folder = dir / format.folder;
  std::filesystem::create_directories(folder);
  int64_t first = 0;
  for (const auto files : {format.train_files, format.test_files}) {
    for (const std::string_view file : files) {
      write_bytes(folder / file, cifar_records(format, first, records_per_file));
      first += records_per_file;
    }
  }
  std::string names;
  for (int i = 0; i < format.classes; ++i) names += "class" + std::to_string(i) + "\n";
  write_bytes(folder / format.names_file, names + "\n");
  return folder;
}

/// Pictures in memory: every byte of picture i is i, its label i % 7. Reading picture `bad` throws.
class CountingDataset : public Dataset {
 public:
  explicit CountingDataset(int64_t size, int64_t bad = -1) : size_(size), bad_(bad) {}
  std::string_view name() const override { return "counting"; }
  int64_t size() const override { return size_; }
  PictureShape shape() const override { return {4, 5, 3}; }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t index) const override { return index % 7; }
  void read(int64_t index, std::span<uint8_t> hwc) const override {
    if (index == bad_) throw DataError("record " + std::to_string(index) + " is broken");
    std::fill(hwc.begin(), hwc.end(), static_cast<uint8_t>(index));
  }
  std::string where(int64_t index) const override { return "picture " + std::to_string(index); }

 private:
  int64_t size_;
  int64_t bad_;
  std::vector<std::string> classes_ = std::vector<std::string>(7, "class");
};

/// The message of the exception of type E that `action` throws, or "" when it throws none.
template <class E, class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace tern::data::testing
