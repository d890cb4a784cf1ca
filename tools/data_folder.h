#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/config.h"
#include "tools/data_set.h"
#include "tools/progress.h"

/// People's own pictures: a directory for each class, JPEG and PNG files in it.
namespace tern::data {

/// Which files there are, before any of them is opened.
struct PictureList {
  struct Entry {
    std::filesystem::path file;
    int32_t label = 0;
  };
  std::vector<std::string> classes;  ///< sorted names of the class directories
  std::vector<Entry> pictures;       ///< one of each class in turn, so that the first N are of all classes; in a class by name
};

/// A data folder's parts. `DIR/train` with `DIR/test` or `DIR/val` beside it, or class directories in DIR itself, of
/// which `val_fraction` of the pictures, drawn by the seed, are the test.
struct FolderParts {
  PictureList train;
  PictureList validation;  ///< empty: there is none, or it is `test`
  PictureList test;
  bool held_out_is_test = false;  ///< no test/ and no val/: `test` is also the validation
};

/// Lists a data folder. Files that begin with a dot are passed over, class directories are searched to the bottom.
/// `classes` (of a checkpoint), where not empty, are the labels; a folder of other classes is refused.
/// `only_test`: nothing but `test` is wanted, so that DIR/train need not be there.
/// Throws DataMissing where DIR has no class directories, DataError naming an empty class, one that is not among the
/// training's, or a name that is not UTF-8; ConfigError where nothing says what the test pictures are.
FolderParts list_folder(const DataConfig& config, uint64_t seed, const std::vector<std::string>& classes = {}, bool only_test = false);

/// Memory that decoded pictures may still take, in bytes: config.cache_mb, or half of what is free.
int64_t picture_budget(const DataConfig& config);

/// Decodes and scales every picture on all cores and keeps those that `budget` has room for, which is taken off it; the
/// others are decoded again at each read. Order and pixels depend on neither threads nor budget. Bad files are named and
/// passed over; `passed_over` counts on through a folder's parts. `progress` may be null.
/// Throws DataError naming the files when there are more than config.bad_files, or when nothing is left.
DatasetPtr decode_pictures(PictureList list, const DataConfig& config, int64_t& budget, int64_t& passed_over, Progress* progress);

}  // namespace tern::data
