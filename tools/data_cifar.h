#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "tools/data_set.h"

namespace tern::data {

enum class Split { kTrain, kTest };

/// One data set in CIFAR's binary format: where its files are, what a record holds, where it is published.
/// A record is `label_bytes` labels (the last one counts) and 3072 pixels: 32x32 red, then green, then blue.
/// Ref: https://www.cs.toronto.edu/~kriz/cifar.html ("Binary version").
struct CifarFormat {
  std::string_view name;
  std::string_view folder;  ///< the archive's folder; files are looked for in DIR and in DIR/folder
  std::span<const std::string_view> train_files;
  std::span<const std::string_view> test_files;
  std::string_view names_file;  ///< one class name a line
  int label_bytes;
  int classes;
  int coarse_classes;    ///< range of the first of two label bytes
  bool synthetic;        ///< made by write_synthetic, and marked so
  std::string_view url;  ///< of the archive; empty where there is none, as the three below
  std::string_view md5;
  std::string_view sha256;
  int64_t archive_bytes;  ///< 0 when it is not known

  std::string_view archive() const { return url.substr(url.rfind('/') + 1); }
  int64_t record_bytes() const { return label_bytes + 3072; }
};

/// The file whose presence says that a folder's pictures are procedural, not photographs.
inline constexpr std::string_view kSyntheticMarker = "SYNTHETIC";

/// cifar10, cifar100 or synthetic. Throws ConfigError for another name.
const CifarFormat& cifar_format(std::string_view name);

/// Opens one split of cifar10, cifar100 or synthetic from DIR or its folder in DIR, and checks every size and label.
/// Labels are kept in memory, pixels are read from the files when asked for.
/// Throws DataMissing when the data are not there, DataError naming file, record and byte when they are corrupt or when
/// synthetic pictures lie where real ones were asked for (or the other way round).
DatasetPtr open_dataset(std::string_view name, const std::filesystem::path& dir, Split split);

}  // namespace tern::data
