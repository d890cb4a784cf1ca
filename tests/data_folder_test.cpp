#include "tools/data_folder.h"

#include <set>

#include "tests/catch.h"
#include "tests/data_test_util.h"
#include "tools/data_run.h"

namespace tern::data {
namespace {

namespace fs = std::filesystem;

/// DIR/<class>/N.png, pictures from the fixtures; 5 of each class.
void fill(const fs::path& dir, const std::vector<std::string>& classes = {"cat", "dog"}, int each = 5) {
  const char* kPictures[] = {"rgb.png", "wide.png", "grey.png", "rgb.jpg", "palette.png"};
  for (size_t c = 0; c < classes.size(); ++c) {
    fs::create_directories(dir / classes[c]);
    for (int i = 0; i < each; ++i) {
      const fs::path source = fs::path(TERN_FIXTURES) / "pictures" / kPictures[(static_cast<size_t>(i) + c) % 5];
      fs::copy_file(source, dir / classes[c] / (std::to_string(i) + source.extension().string()));
    }
  }
}

DataConfig config_of(const fs::path& dir, double val_fraction = 0.4) {
  DataConfig config;
  config.name = DataName::folder;
  config.dir = dir.string();
  config.size = {8, 12};
  config.val_fraction = val_fraction;
  return config;
}

std::set<std::string> files_of(const Dataset& data) {
  std::set<std::string> files;
  for (int64_t i = 0; i < data.size(); ++i) files.insert(data.where(i));
  return files;
}

template <class E>
std::string failure(const DataConfig& config) {
  return testing::message_of<E>([&] { open_run_data(config, 1); });
}

}  // namespace

TEST_CASE("folder: class directories, their pictures in turn, and a part held out by the seed", "[data][folder]") {
  const testing::TemporaryDir dir;
  fill(dir.path(), {"dog", "cat"});
  testing::write_bytes(dir.path() / "README", "not a class");
  testing::write_bytes(dir.path() / "cat/.DS_Store", "nobody's");
  const DataConfig config = config_of(dir.path());
  const RunData data = open_run_data(config, 1);
  CHECK(data.train->name() == "folder");
  CHECK(data.train->classes() == std::vector<std::string>{"cat", "dog"});
  CHECK(data.train->shape() == PictureShape{8, 12, 3});
  CHECK(data.train->size() == 6);
  CHECK(data.test->size() == 4);
  CHECK(data.validation == data.test);
  for (int64_t i = 0; i < 6; ++i)
    CHECK(testing::contains(data.train->where(i), data.train->label(i) == 0 ? "/cat/" : "/dog/"));
  std::set<std::string> all = files_of(*data.train);
  all.merge(files_of(*data.test));
  CHECK(all.size() == 10);
  CHECK(files_of(*open_run_data(config, 1).test) == files_of(*data.test));
  bool another = false;
  for (uint64_t seed = 2; seed < 8; ++seed) another |= files_of(*open_run_data(config, seed).test) != files_of(*data.test);
  CHECK(another);

  DataConfig limited = config;
  limited.limit = 2;
  const RunData some = open_run_data(limited, 1);
  CHECK(some.train->size() == 2);
  CHECK(files_of(*some.test) == files_of(*data.test));
  CHECK(files_of(*open_split(limited, 1, Split::kTest, {"cat", "dog"}, nullptr)) == files_of(*data.test));
  CHECK(open_split(limited, 1, Split::kTrain, {}, nullptr)->size() == 6);
}

TEST_CASE("folder: pixels do not depend on the memory they may take", "[data][folder]") {
  const testing::TemporaryDir dir;
  fill(dir.path());
  DataConfig config = config_of(dir.path());
  const RunData kept = open_run_data(config, 1);
  config.cache_mb = 0;
  const RunData anew = open_run_data(config, 1);
  CHECK(digest(*anew.train) == digest(*kept.train));
  CHECK(digest(*anew.test) == digest(*kept.test));
  CHECK(digest(*kept.train) != digest(*kept.test));
  config.size = {12, 8};
  const std::string cropped = digest(*open_run_data(config, 1).train);
  config.fit = PictureFit::stretch;
  CHECK(digest(*open_run_data(config, 1).train) != cropped);
}

TEST_CASE("folder: train/ with test/, val/ or both", "[data][folder]") {
  const testing::TemporaryDir dir;
  fill(dir.path() / "train");
  fill(dir.path() / "val", {"cat"}, 3);
  DataConfig config = config_of(dir.path(), 0);
  RunData data = open_run_data(config, 1);
  CHECK(data.train->size() == 10);
  CHECK(data.test->size() == 3);
  CHECK(data.validation == nullptr);
  fill(dir.path() / "test", {"dog"}, 2);
  data = open_run_data(config, 1);
  CHECK(data.test->size() == 2);
  CHECK(data.test->label(0) == 1);
  CHECK(data.validation->size() == 3);
  config.val_fraction = 0.2;
  data = open_run_data(config, 1);
  CHECK(data.train->size() == 8);
  CHECK(data.validation->size() == 2);

  fs::remove_all(dir.path() / "train");
  CHECK(open_split(config, 1, Split::kTest, {"cat", "dog"}, nullptr)->label(0) == 1);
  CHECK_THAT(failure<DataMissing>(config), HasText("has test/ but no train/"));
}

TEST_CASE("folder: bad files are named, counted and passed over as far as data.bad_files allows", "[data][folder]") {
  const testing::TemporaryDir dir;
  fill(dir.path());
  DataConfig config = config_of(dir.path());
  testing::write_bytes(dir.path() / "cat/empty.png", "");
  testing::write_bytes(dir.path() / "cat/text.jpg", "text");
  testing::write_bytes(dir.path() / "dog/notes.txt", "notes");
  const std::string message = failure<DataError>(config);
  CHECK_THAT(message, HasText("bad files, and data.bad_files allows 0"));
  config.bad_files = 2;
  CHECK_THAT(failure<DataError>(config), HasText("3 bad files, and data.bad_files allows 2"));
  config.bad_files = 3;
  const RunData data = open_run_data(config, 1);
  CHECK(data.train->size() + data.test->size() == 10);
  for (const DatasetPtr& part : {data.train, data.test})
    for (const std::string& file : files_of(*part)) CHECK_FALSE(testing::contains(file, "text.jpg"));
}

TEST_CASE("folder: what is no data folder says what is wanted", "[data][folder]") {
  const testing::TemporaryDir dir;
  CHECK_THAT(failure<DataMissing>(config_of(dir.path() / "none")), HasText("none is no directory\n  wanted:   a directory for each class"));
  CHECK_THAT(failure<DataMissing>(config_of(dir.path())), HasText("has no class directories"));
  fs::create_directories(dir.path() / "cat");
  CHECK_THAT(failure<DataError>(config_of(dir.path())), HasText("cat is empty: a class wants pictures"));
  fill(dir.path());
  CHECK_THAT(failure<ConfigError>(config_of(dir.path(), 0)), HasText("data.val_fraction: got 0, but "));
  const std::string unknown = testing::message_of<DataError>([&] { open_split(config_of(dir.path()), 1, Split::kTest, {"cat", "mouse"}, nullptr); });
  CHECK_THAT(unknown, HasText("the training knows no class \"dog\""));
  fs::create_directories(dir.path() / "a\xff");
  CHECK_THAT(failure<DataError>(config_of(dir.path())), HasText("is not UTF-8"));
}

}  // namespace tern::data
