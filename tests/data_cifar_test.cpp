#include "tools/data_cifar.h"

#include <sys/stat.h>

#include <set>
#include <thread>

#include "tests/catch.h"
#include "tests/data_test_util.h"
#include "tools/data_digest.h"

namespace tern::data {
namespace {

using testing::contains;
using testing::message_of;
namespace fs = std::filesystem;

void expect_picture(const Dataset& data, int64_t index, int64_t record) {
  std::vector<uint8_t> hwc(3072);
  data.read(index, hwc);
  int wrong = 0;
  for (int64_t y = 0; y < 32; ++y) {
    for (int64_t x = 0; x < 32; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        wrong += hwc[static_cast<size_t>((y * 32 + x) * 3 + c)] != testing::pixel_of(record, c, y, x);
      }
    }
  }
  CHECK(wrong == 0);
}

std::string open_error(std::string_view name, const fs::path& dir, Split split = Split::kTrain) {
  return message_of<DataError>([&] { open_dataset(name, dir, split); });
}

}  // namespace

TEST_CASE("cifar: planar records become interleaved pictures, files in order", "[data]") {
  const testing::TemporaryDir dir;
  for (const char* name : {"cifar10", "cifar100"}) {
    const CifarFormat& format = cifar_format(name);
    const fs::path folder = testing::write_cifar(format, dir.path(), 3);
    for (const fs::path& place : {dir.path(), folder}) {
      const DatasetPtr train = open_dataset(name, place, Split::kTrain);
      const DatasetPtr test = open_dataset(name, place, Split::kTest);
      const auto trained = static_cast<int64_t>(format.train_files.size()) * 3;
      CHECK(train->name() == name);
      CHECK(train->size() == trained);
      CHECK(test->size() == 3);
      CHECK(train->shape() == PictureShape{32, 32, 3});
      CHECK(train->classes().size() == static_cast<size_t>(format.classes));
      CHECK(train->classes()[7] == "class7");
      for (int64_t i = 0; i < trained; ++i) {
        CHECK(train->label(i) == i % format.classes);
        expect_picture(*train, i, i);
      }
      expect_picture(*test, 2, trained + 2);
    }
  }
  CHECK(contains(open_dataset("cifar10", dir.path(), Split::kTrain)->where(4), "data_batch_2.bin record 1"));
}

TEST_CASE("cifar: several threads read the right pictures", "[data]") {
  const testing::TemporaryDir dir;
  testing::write_cifar(cifar_format("cifar10"), dir.path(), 8);
  const DatasetPtr data = open_dataset("cifar10", dir.path(), Split::kTrain);
  std::vector<std::thread> threads;
  std::vector<int> wrong(3, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      std::vector<uint8_t> hwc(3072);
      for (int64_t i = 0; i < data->size(); ++i) {
        data->read(i, hwc);
        wrong[t] += hwc[1] != testing::pixel_of(i, 1, 0, 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(3, 0));
}

TEST_CASE("cifar: missing data say how to get them, also without a network", "[data]") {
  const testing::TemporaryDir dir;
  const fs::path nowhere = dir.path() / "none";
  const std::string message = message_of<DataMissing>([&] { open_dataset("cifar10", nowhere, Split::kTest); });
  for (const std::string& part : {nowhere.string(), std::string("trainer data fetch cifar10 --dir "),
                                  std::string("c32a1d4ab5d03f1284b67883e8d87530"),
                                  std::string("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"),
                                  std::string("170,052,171 bytes"), (nowhere / "cifar-10-batches-bin").string(),
                                  std::string("without a network"), std::string("data_batch_5.bin")}) {
    INFO(part);
    CHECK(contains(message, part));
  }
  CHECK(contains(message_of<DataMissing>([&] { open_dataset("synthetic", nowhere, Split::kTrain); }), "data synth"));

  const fs::path folder = testing::write_cifar(cifar_format("cifar10"), dir.path(), 1);
  fs::remove(folder / "data_batch_3.bin");
  const std::string incomplete = message_of<DataMissing>([&] { open_dataset("cifar10", dir.path(), Split::kTrain); });
  CHECK(contains(incomplete, "data_batch_3.bin is missing"));
  CHECK(contains(incomplete, "offline"));
}

TEST_CASE("cifar: damaged files are refused by name, record and byte", "[data]") {
  const testing::TemporaryDir dir;
  const CifarFormat& format = cifar_format("cifar10");
  const fs::path folder = testing::write_cifar(format, dir.path(), 4);
  const fs::path second = folder / "data_batch_2.bin";

  SECTION("cut off inside a record") {
    fs::resize_file(second, 3 * 3073 + 1000);
    const std::string message = open_error("cifar10", dir.path());
    CHECK(contains(message, "data_batch_2.bin has 10,219 bytes"));
    CHECK(contains(message, "record 3 (byte 9219) is cut off after 1000"));
  }
  SECTION("cut off between records") {
    fs::resize_file(second, 3 * 3073);
    CHECK(contains(open_error("cifar10", dir.path()), "data_batch_2.bin has 3 records but data_batch_1.bin has 4"));
  }
  SECTION("empty") {
    fs::resize_file(second, 0);
    CHECK(contains(open_error("cifar10", dir.path()), "data_batch_2.bin is empty"));
  }
  SECTION("label out of range") {
    std::string bytes = testing::cifar_records(format, 4, 4);
    bytes[2 * 3073] = 10;
    testing::write_bytes(second, bytes);
    CHECK(contains(open_error("cifar10", dir.path()),
                   "data_batch_2.bin: record 2 (byte 6146) has label 10, wanted 0..9"));
  }
  SECTION("a directory in a file's place") {
    fs::remove(second);
    fs::create_directory(second);
    CHECK(contains(open_error("cifar10", dir.path()), "data_batch_2.bin is a directory"));
  }
  SECTION("a pipe in a file's place") {
    fs::remove(second);
    REQUIRE(mkfifo(second.c_str(), 0600) == 0);
    CHECK(contains(open_error("cifar10", dir.path()), "data_batch_2.bin is no regular file"));
  }
  SECTION("a file in the directory's place") {
    CHECK(contains(open_error("cifar10", folder / "test_batch.bin"), "test_batch.bin is no directory"));
  }
  SECTION("too few names") {
    testing::write_bytes(folder / "batches.meta.txt", "cat\ndog\n");
    CHECK(contains(open_error("cifar10", dir.path()), "batches.meta.txt has 2 class names, wanted 10"));
  }
  SECTION("no names") {
    fs::remove(folder / "batches.meta.txt");
    CHECK(contains(open_error("cifar10", dir.path()), "batches.meta.txt: cannot open"));
  }
  SECTION("a file of names that is something else") {
    testing::write_bytes(folder / "batches.meta.txt", std::string(70000, 'x'));
    CHECK(contains(open_error("cifar10", dir.path()), "batches.meta.txt has 70,000 bytes"));
  }
  SECTION("shrunk after it was opened") {
    const DatasetPtr data = open_dataset("cifar10", dir.path(), Split::kTrain);
    fs::resize_file(second, 3073 + 200);
    std::vector<uint8_t> hwc(3072);
    const std::string message = message_of<DataError>([&] { data->read(5, hwc); });
    CHECK(contains(message, "data_batch_2.bin record 1 (byte 3074) ends after 199 of 3072"));
  }
}

TEST_CASE("cifar100: both labels are checked", "[data]") {
  const testing::TemporaryDir dir;
  const CifarFormat& format = cifar_format("cifar100");
  const fs::path folder = testing::write_cifar(format, dir.path(), 2);
  std::string bytes = testing::cifar_records(format, 0, 2);
  bytes[3074] = 20;
  testing::write_bytes(folder / "train.bin", bytes);
  CHECK(contains(open_error("cifar100", dir.path()),
                 "train.bin: record 1 (byte 3074) has coarse label 20, wanted 0..19"));
  bytes[3074] = 19;
  bytes[3075] = 100;
  testing::write_bytes(folder / "train.bin", bytes);
  CHECK(contains(open_error("cifar100", dir.path()), "train.bin: record 1 (byte 3075) has label 100, wanted 0..99"));
  CHECK(open_error("cifar100", dir.path(), Split::kTest).empty());
}

TEST_CASE("cifar: synthetic and real pictures never stand in for each other", "[data]") {
  const testing::TemporaryDir dir;
  const fs::path folder = testing::write_cifar(cifar_format("cifar10"), dir.path(), 1);
  CHECK(contains(open_error("synthetic", folder), "has no file SYNTHETIC"));
  testing::write_bytes(folder / "SYNTHETIC", "");
  CHECK(contains(open_error("cifar10", dir.path()), "holds synthetic pictures"));
  CHECK(contains(open_error("cifar10", folder), "holds synthetic pictures"));
  CHECK(open_dataset("synthetic", folder, Split::kTrain)->name() == "synthetic");
  CHECK_THROWS_AS(open_dataset("cifar11", folder, Split::kTrain), ConfigError);
}

TEST_CASE("data set: limit, subset and the keyed validation split", "[data]") {
  const auto data = std::make_shared<testing::CountingDataset>(100);
  CHECK(limit(data, 100) == data);
  const DatasetPtr few = limit(data, 3);
  CHECK(few->size() == 3);
  CHECK(few->where(2) == "picture 2");
  CHECK_THROWS_AS(limit(data, 0), ConfigError);
  CHECK_THROWS_AS(subset(data, {100}), ConfigError);

  const TrainValidation parts = split_validation(data, 0.2, 7);
  CHECK(parts.train->size() == 80);
  CHECK(parts.validation->size() == 20);
  std::set<std::string> seen;
  std::vector<std::string> validation;
  for (int64_t i = 0; i < 80; ++i) seen.insert(parts.train->where(i));
  for (int64_t i = 0; i < 20; ++i) validation.push_back(parts.validation->where(i));
  seen.insert(validation.begin(), validation.end());
  CHECK(seen.size() == 100);

  const auto drawn = [&](uint64_t seed) {
    std::vector<std::string> where;
    const DatasetPtr part = split_validation(data, 0.2, seed).validation;
    for (int64_t i = 0; i < part->size(); ++i) where.push_back(part->where(i));
    return where;
  };
  CHECK(drawn(7) == validation);
  CHECK(drawn(8) != validation);
  CHECK(split_validation(data, 0.0, 7).validation == nullptr);
  for (const double bad : {-0.1, 1.0, 0.001, 0.999}) CHECK_THROWS_AS(split_validation(data, bad, 7), ConfigError);
}

TEST_CASE("data set: a keyed permutation is a fair permutation", "[data]") {
  std::vector<int> first(5, 0);
  for (uint64_t epoch = 0; epoch < 5000; ++epoch) {
    std::vector<uint32_t> order = keyed_permutation(5, {.seed = 3, .epoch = epoch, .op = kRngShuffle});
    ++first[order[0]];
    std::sort(order.begin(), order.end());
    REQUIRE(order == std::vector<uint32_t>{0, 1, 2, 3, 4});
  }
  for (const int count : first) CHECK(std::abs(count - 1000) < 150);  // five deviations
  CHECK(keyed_permutation(0, {}).empty());
  CHECK(keyed_permutation(1, {}) == std::vector<uint32_t>{0});
}

TEST_CASE("data set: the digest sees pixels, labels, order and name", "[data]") {
  const testing::TemporaryDir dir;
  const CifarFormat& format = cifar_format("cifar10");
  const fs::path folder = testing::write_cifar(format, dir.path(), 2);
  const auto now = [&] { return digest(*open_dataset("cifar10", dir.path(), Split::kTest)); };
  const std::string before = now();
  CHECK(before.size() == 64);
  CHECK(now() == before);
  const std::string bytes = testing::cifar_records(format, 10, 2);
  for (const size_t at : {size_t{0}, size_t{1}, size_t{3072}}) {  // a label, a first and a last pixel
    std::string changed = bytes;
    changed[at] = changed[at] == 1 ? 2 : 1;
    testing::write_bytes(folder / "test_batch.bin", changed);
    CHECK(now() != before);
  }
  testing::write_bytes(folder / "test_batch.bin", bytes.substr(3073) + bytes.substr(0, 3073));
  CHECK(now() != before);
  testing::write_bytes(folder / "test_batch.bin", bytes);
  CHECK(now() == before);
}

TEST_CASE("sha256: the standard's example", "[data]") {
  Sha256 hash;
  hash.update("a");
  hash.update("bc");
  CHECK(hash.hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace tern::data
