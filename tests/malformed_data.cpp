// Pictures on the disk that trainer must refuse: exit 3 with file and record.
#include <sys/stat.h>
#include <unistd.h>

#include "tests/data_test_util.h"
#include "tests/malformed.h"

namespace tern::test {
namespace {

namespace fs = std::filesystem;
using data::testing::cifar_records;
using data::testing::write_bytes;

constexpr int64_t kRecords = 3;  // a file

/// Puts a sound small set of `name` into pictures/ and lets `damage` loose on its folder.
template <class Damage>
Case data_case(const std::string& name, const std::string& says, const Damage& damage) {
  const auto prepare = [name, damage](const Workbench& bench) {
    fs::remove_all(bench / "pictures");
    damage(data::testing::write_cifar(data::cifar_format(name), bench / "pictures", kRecords));
    auto config = Workbench::config();
    config["data"] = {{"name", name}, {"dir", "pictures"}};
    bench.write_config("pictures.json", config);
  };
  return {{"trainer", "pictures.json", "--out", "none", "--progress", "none"}, 3, says, prepare};
}

/// A case in which one file is replaced by these bytes.
Case file_case(const std::string& set, const std::string& file, const std::string& bytes, const std::string& says) {
  return data_case(set, file + says, [=](const fs::path& folder) { write_bytes(folder / file, bytes); });
}

Case removed_case(const std::string& set, const std::string& file, const std::string& says) {
  return data_case(set, says, [=](const fs::path& folder) { fs::remove(folder / file); });
}

/// A case in which something that is no file stands in a file's place.
template <class Make>
Case replaced_case(const std::string& set, const std::string& file, const std::string& says, const Make& make) {
  return data_case(set, file + says, [=](const fs::path& folder) {
    fs::remove(folder / file);
    make(folder / file);
  });
}

/// Sound records with one byte changed.
std::string records_with(const std::string& set, size_t at, int byte) {
  std::string bytes = cifar_records(data::cifar_format(set), 0, kRecords);
  bytes[at] = static_cast<char>(byte);
  return bytes;
}

std::string names(int count, const std::string& name = "class") {
  std::string text;
  for (int i = 0; i < count; ++i) text += name + "\n";
  return text;
}

void make_directory(const fs::path& path) { fs::create_directory(path); }
void make_pipe(const fs::path& path) { ::mkfifo(path.c_str(), 0600); }

std::vector<Case> cifar10() {
  const std::string sound = cifar_records(data::cifar_format("cifar10"), 0, kRecords);
  const std::string twice = cifar_records(data::cifar_format("cifar10"), 0, 2 * kRecords);
  const std::string ten = "cifar10";
  return {
      data_case(ten, "no data in pictures", [](const fs::path& folder) { fs::remove_all(folder); }),
      data_case(ten, "pictures is no directory",
                [](const fs::path& folder) {
                  fs::remove_all(folder.parent_path());
                  write_bytes(folder.parent_path(), "no directory");
                }),
      data_case(ten, "holds synthetic pictures (it has the file SYNTHETIC)",
                [](const fs::path& folder) { write_bytes(folder / "SYNTHETIC", ""); }),
      removed_case(ten, "data_batch_4.bin", "data_batch_4.bin is missing, the data set is incomplete"),
      removed_case(ten, "test_batch.bin", "test_batch.bin is missing, the data set is incomplete"),
      removed_case(ten, "batches.meta.txt", "batches.meta.txt: cannot open: No such file or directory"),
      file_case(ten, "data_batch_1.bin", "", " is empty"),
      file_case(ten, "data_batch_1.bin", "x", " has 1 bytes, not a multiple of the 3073 bytes of a record"),
      file_case(ten, "data_batch_2.bin", sound.substr(0, 5000), " has 5,000 bytes, not a multiple of the 3073 bytes of a record: record 1 (byte 3073)"),
      file_case(ten, "data_batch_3.bin", twice, " has 6 records but data_batch_1.bin has 3: one of them is cut off"),
      file_case(ten, "data_batch_5.bin", sound + "x", " has 9,220 bytes, not a multiple"),
      file_case(ten, "test_batch.bin", sound.substr(0, 9218), " has 9,218 bytes, not a multiple"),
      file_case(ten, "data_batch_2.bin", records_with(ten, 3073, 10), ": record 1 (byte 3073) has label 10, wanted 0..9"),
      file_case(ten, "data_batch_2.bin", records_with(ten, 0, 255), ": record 0 (byte 0) has label 255, wanted 0..9"),
      file_case(ten, "test_batch.bin", records_with(ten, 6146, 77), ": record 2 (byte 6146) has label 77, wanted 0..9"),
      file_case(ten, "batches.meta.txt", "", " has 0 class names, wanted 10"),
      file_case(ten, "batches.meta.txt", names(9), " has 9 class names, wanted 10"),
      file_case(ten, "batches.meta.txt", names(11), " has 11 class names, wanted 10"),
      file_case(ten, "batches.meta.txt", names(10, "b\xe4r"), " is not UTF-8 at byte 1, wanted a list of 10 names"),
      file_case(ten, "batches.meta.txt", names(10, std::string(7000, 'n')), " has 70,010 bytes, wanted a list of 10"),
      replaced_case(ten, "data_batch_1.bin", " is a directory, wanted a file", make_directory),
      replaced_case(ten, "test_batch.bin", " is no regular file", make_pipe),
      replaced_case(ten, "batches.meta.txt", " is a directory, wanted a file", make_directory),
  };
}

std::vector<Case> cifar100_and_synthetic() {
  const std::string hundred = "cifar100";
  const std::string sound = cifar_records(data::cifar_format(hundred), 0, kRecords);
  return {
      data_case(hundred, "cifar-100-binary is any of train.bin test.bin",
                [](const fs::path& folder) { fs::remove_all(folder); }),
      removed_case(hundred, "test.bin", "test.bin is missing, the data set is incomplete"),
      removed_case(hundred, "fine_label_names.txt", "fine_label_names.txt: cannot open"),
      file_case(hundred, "train.bin", "", " is empty"),
      file_case(hundred, "train.bin", sound.substr(0, 3073), " has 3,073 bytes, not a multiple of the 3074 bytes of a record: record 0"),
      file_case(hundred, "train.bin", records_with(hundred, 0, 20), ": record 0 (byte 0) has coarse label 20, wanted 0..19"),
      file_case(hundred, "train.bin", records_with(hundred, 3075, 100), ": record 1 (byte 3075) has label 100, wanted 0..99"),
      file_case(hundred, "test.bin", sound + sound.substr(0, 2), " has 9,224 bytes, not a multiple of the 3074 bytes"),
      file_case(hundred, "fine_label_names.txt", names(10), " has 10 class names, wanted 100"),
      replaced_case(hundred, "train.bin", " is a directory, wanted a file", make_directory),
      data_case("synthetic", "has no file SYNTHETIC, so its pictures are not synthetic", [](const fs::path&) {}),
  };
}

/// Lets `damage` loose on a folder of two classes with a sound picture each.
template <class Damage>
Case folder_case(const std::string& says, int code, const Damage& damage) {
  const auto prepare = [damage](const Workbench& bench) {
    fs::remove_all(bench / "pictures");
    for (const char* file : {"cat/1.png", "cat/2.jpg", "dog/1.png", "dog/2.jpg"}) {
      fs::create_directories((bench / "pictures" / file).parent_path());
      fs::copy_file(fs::path(TERN_FIXTURES) / "pictures" / ("rgb" + fs::path(file).extension().string()), bench / "pictures" / file);
    }
    auto config = Workbench::config();
    config["data"] = {{"name", "folder"}, {"dir", "pictures"}, {"val_fraction", 0.5}};
    damage(bench / "pictures", config);
    bench.write_config("pictures.json", config);
  };
  return {{"trainer", "pictures.json", "--out", "none", "--progress", "none"}, code, says, prepare};
}

std::vector<Case> folders() {
  using Config = nlohmann::json;
  const auto bad_file = [](const std::string& bytes, const std::string& name = "cat/1.png") {
    return [=](const fs::path& folder, Config&) { write_bytes(folder / name, bytes); };
  };
  const std::string png = read_file(fs::path(TERN_FIXTURES) / "pictures/rgb.png"), jpeg = read_file(fs::path(TERN_FIXTURES) / "pictures/rgb.jpg");
  return {
      folder_case("pictures/cat/1.png is empty", 3, bad_file("")),
      folder_case("pictures/cat/1.png is neither JPEG nor PNG", 3, bad_file("GIF89a")),
      folder_case("pictures/cat/1.png is a damaged PNG", 3, bad_file(png.substr(0, png.size() / 2))),
      folder_case("pictures/cat/2.jpg is a damaged JPEG", 3, bad_file(jpeg.substr(0, jpeg.size() / 2), "cat/2.jpg")),
      folder_case("pictures/dog/notes.txt is not named .jpg, .jpeg or .png", 3, bad_file("notes", "dog/notes.txt")),
      folder_case("no picture is left", 3, [](const fs::path& folder, Config& config) {
        config["data"]["bad_files"] = 4;
        for (const char* file : {"cat/1.png", "cat/2.jpg", "dog/1.png", "dog/2.jpg"}) write_bytes(folder / file, "x");
      }),
      folder_case("pictures is no directory", 3, [](const fs::path& folder, Config&) { fs::remove_all(folder); }),
      folder_case("pictures has no class directories", 3, [](const fs::path& folder, Config&) { fs::remove_all(folder / "cat"), fs::remove_all(folder / "dog"); }),
      folder_case("pictures/mouse is empty: a class wants pictures", 3, [](const fs::path& folder, Config&) { fs::create_directory(folder / "mouse"); }),
      folder_case("pictures has test/ but no train/", 3, [](const fs::path& folder, Config&) { fs::rename(folder / "cat", folder / "test"); }),
      folder_case("data.val_fraction: got 0, but pictures has no test/", 2, [](const fs::path&, Config& config) { config["data"]["val_fraction"] = 0; }),
  };
}

}  // namespace

std::vector<Case> malformed_data() {
  std::vector<Case> cases = cifar10();
  for (Case& c : cifar100_and_synthetic()) cases.push_back(std::move(c));
  for (Case& c : folders()) cases.push_back(std::move(c));
  Case over_real = data_case("cifar10", "real pictures are not overwritten", [](const fs::path& folder) {
    fs::rename(folder, folder.parent_path() / "synthetic");
  });
  over_real.command = {"trainer", "data", "synth", "--dir", "pictures", "--train", "5", "--test", "1"};
  cases.push_back(std::move(over_real));
  if (::geteuid() != 0)  // root reads everything
    cases.push_back(data_case("cifar10", "test_batch.bin: cannot open: Permission denied", [](const fs::path& folder) {
      fs::permissions(folder / "test_batch.bin", fs::perms::none);
    }));
  return cases;
}

}  // namespace tern::test
