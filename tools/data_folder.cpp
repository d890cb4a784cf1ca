#include "tools/data_folder.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "core/utf8.h"
#include "tools/data_file.h"

namespace tern::data {
namespace {

namespace fs = std::filesystem;

bool hidden(const fs::path& path) { return path.filename().string().starts_with("."); }

bool holds_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// Names of the directories in `root`, sorted. They become class names, which stand in JSON.
std::vector<std::string> class_directories(const fs::path& root) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (hidden(entry.path()) || !entry.is_directory()) continue;
    names.push_back(entry.path().filename().string());
    if (find_bad_utf8(names.back())) throw DataError("[folder] " + root.string() + ": the directory name \"" + names.back() + "\" is not UTF-8");
  }
  std::ranges::sort(names);
  return names;
}

std::vector<fs::path> files_below(const fs::path& folder) {
  // Windows leaves these behind; they are nobody's pictures.
  static const std::set<std::string> kCompanions = {"Thumbs.db", "desktop.ini"};
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    if (hidden(it->path())) {
      if (it->is_directory()) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_directory() && !kCompanions.contains(it->path().filename().string())) files.push_back(it->path());
  }
  std::ranges::sort(files);
  return files;
}

std::string ways(const fs::path& dir) {
  return "\n  wanted:   a directory for each class with JPEG or PNG files in it, as " + (dir / "cat/1.jpg").string() + ",\n            or " +
         (dir / "train/cat/1.jpg").string() + " and " + (dir / "test/cat/2.jpg").string();
}

std::vector<std::string> classes_of(const fs::path& root, const fs::path& dir) {
  if (!holds_directory(root)) throw DataMissing("[folder] " + root.string() + " is no directory" + ways(dir));
  const std::vector<std::string> found = class_directories(root);
  if (found.empty()) throw DataMissing("[folder] " + root.string() + " has no class directories" + ways(dir));
  return found;
}

/// The pictures below `root`, whose directories are all among `classes`.
PictureList list_pictures(const fs::path& root, const fs::path& dir, const std::vector<std::string>& classes) {
  PictureList list{.classes = classes, .pictures = {}};
  std::map<std::pair<size_t, int32_t>, fs::path> in_turn;  // by place in the class, then by class
  for (const std::string& name : classes_of(root, dir)) {
    const auto at = std::ranges::lower_bound(classes, name);
    if (at == classes.end() || *at != name)
      throw DataError("[folder] " + (root / name).string() + ": the training knows no class \"" + name + "\"");
    std::vector<fs::path> files = files_below(root / name);
    if (files.empty()) throw DataError("[folder] " + (root / name).string() + " is empty: a class wants pictures; remove it or fill it");
    for (size_t i = 0; i < files.size(); ++i) in_turn.emplace(std::pair{i, static_cast<int32_t>(at - classes.begin())}, std::move(files[i]));
  }
  for (auto& [place, file] : in_turn) list.pictures.push_back({std::move(file), place.second});
  return list;
}

/// Moves the pictures that the seed draws out of `list`.
PictureList take_held_out(PictureList& list, double fraction, uint64_t seed) {
  const HeldOut parts = held_out(static_cast<int64_t>(list.pictures.size()), fraction, seed);
  const auto picked = [&](const std::vector<int64_t>& indices) {
    PictureList part{.classes = list.classes, .pictures = {}};
    for (const int64_t i : indices) part.pictures.push_back(list.pictures[static_cast<size_t>(i)]);
    return part;
  };
  PictureList taken = picked(parts.validation);
  list = picked(parts.train);
  return taken;
}

}  // namespace

FolderParts list_folder(const DataConfig& config, uint64_t seed, const std::vector<std::string>& classes, bool only_test) try {
  const fs::path dir = config.dir;
  const bool test = holds_directory(dir / "test"), val = holds_directory(dir / "val");
  const bool apart = test || val;
  if (apart && !holds_directory(dir / "train") && !(only_test && !classes.empty()))
    throw DataMissing("[folder] " + dir.string() + " has " + (test ? "test/" : "val/") + " but no train/" + ways(dir));
  const fs::path root = holds_directory(dir / "train") ? dir / "train" : dir;
  FolderParts parts;
  if (apart) {
    const std::vector<std::string> known = classes.empty() ? classes_of(root, dir) : classes;
    parts.test = list_pictures(dir / (test ? "test" : "val"), dir, known);
    if (only_test) return parts;
    parts.train = list_pictures(root, dir, known);
    if (config.val_fraction > 0) {
      parts.validation = take_held_out(parts.train, config.val_fraction, seed);
    } else if (test && val) {
      parts.validation = list_pictures(dir / "val", dir, known);
    }
  } else {
    parts.train = list_pictures(root, dir, classes.empty() ? classes_of(root, dir) : classes);
    if (config.val_fraction == 0)
      throw ConfigError("data.val_fraction: got 0, but " + dir.string() +
                        " has no test/ or val/ beside train/: set how many of the pictures test it, such as 0.1");
    parts.test = take_held_out(parts.train, config.val_fraction, seed);
    parts.held_out_is_test = true;
  }
  if (config.limit && static_cast<size_t>(*config.limit) < parts.train.pictures.size()) parts.train.pictures.resize(static_cast<size_t>(*config.limit));
  return parts;
} catch (const fs::filesystem_error& error) {
  throw DataError("[folder] " + error.path1().string() + ": " + error.code().message());
}

}  // namespace tern::data
