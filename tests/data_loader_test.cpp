#include "tools/data_loader.h"

#include <set>

#include "tests/catch.h"
#include "tests/data_test_util.h"

namespace tern::data {
namespace {

using testing::CountingDataset;

const std::vector<Augment> kAugment = {Crop{2, PadMode::zero}, Flip{}, Cutout{2, {9, 9, 9}}};

LoaderOptions small() { return {{.micro_batch = 4, .lanes = 3, .seed = 11}, 1, 2}; }

std::vector<Batch> epoch_of(Loader& loader, int64_t epoch, int64_t step = 0) {
  std::vector<Batch> batches;
  loader.start(epoch, step);
  while (const Batch* batch = loader.next()) batches.push_back(*batch);
  return batches;
}

bool same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Batch& x, const Batch& y) {
    return x.epoch == y.epoch && x.step == y.step && x.images == y.images && x.labels == y.labels &&
           x.indices == y.indices;
  });
}

}  // namespace

TEST_CASE("loader: an epoch holds every picture once, with its label and pixels", "[data]") {
  const auto data = std::make_shared<CountingDataset>(100);
  Loader loader(data, small());
  CHECK(loader.steps_per_epoch() == 9);
  for (const int64_t epoch : {0, 1}) {
    const std::vector<Batch> batches = epoch_of(loader, epoch);
    REQUIRE(batches.size() == 9);
    std::set<int64_t> seen;
    for (size_t step = 0; step < batches.size(); ++step) {
      const Batch& batch = batches[step];
      CHECK(batch.epoch == epoch);
      CHECK(batch.step == static_cast<int64_t>(step));
      CHECK(batch.size() == (step == 8 ? 4 : 12));
      CHECK(batch.images.size() == static_cast<size_t>(batch.size() * 60));
      for (int64_t row = 0; row < batch.size(); ++row) {
        const int64_t index = batch.indices[static_cast<size_t>(row)];
        seen.insert(index);
        CHECK(batch.labels[static_cast<size_t>(row)] == index % 7);
        for (int64_t b = 0; b < 60; ++b) REQUIRE(batch.images[static_cast<size_t>(row * 60 + b)] == index);
      }
    }
    CHECK(seen.size() == 100);
  }
}

TEST_CASE("loader: lanes_here gives those rows of every step, also of a ragged one", "[data]") {
  const auto data = std::make_shared<CountingDataset>(31);  // steps of 12, 12 and 4 + 3 pictures
  LoaderOptions whole = small();
  whole.augment = kAugment;
  Loader all(data, whole);
  const std::vector<Batch> steps = epoch_of(all, 1);
  for (const dist::LaneRange lanes : {dist::LaneRange{0, 2}, {1, 1}, {1, 2}, {2, 1}}) {
    LoaderOptions part = whole;
    part.lanes_here = lanes;
    Loader some(data, part);
    const std::vector<Batch> batches = epoch_of(some, 1);
    REQUIRE(batches.size() == steps.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      const int64_t size = steps[i].size(), first = std::min<int64_t>(size, lanes.first * 4), end = std::min<int64_t>(size, lanes.end() * 4);
      const Batch& batch = batches[i];
      CHECK(batch.first_row == first);
      CHECK(batch.step_pictures == size);
      CHECK(batch.indices == std::vector(steps[i].indices.begin() + first, steps[i].indices.begin() + end));
      CHECK(batch.labels == std::vector(steps[i].labels.begin() + first, steps[i].labels.begin() + end));
      CHECK((batch.images == std::vector(steps[i].images.begin() + first * 60, steps[i].images.begin() + end * 60)));
    }
  }
}

TEST_CASE("loader: a ragged last step has fewer lanes and a shorter last one", "[data]") {
  Loader loader(std::make_shared<CountingDataset>(19), small());
  const std::vector<Batch> batches = epoch_of(loader, 0);
  REQUIRE(batches.size() == 2);
  CHECK(batches[0].lanes() == 3);
  CHECK(batches[0].lane_size(2) == 4);
  CHECK(batches[1].size() == 7);
  CHECK(batches[1].lanes() == 2);
  CHECK(batches[1].lane_size(0) == 4);
  CHECK(batches[1].lane_size(1) == 3);
  CHECK(batches[1].lane_size(2) == 0);

  LoaderOptions drop = small();
  drop.drop_last = true;
  Loader dropping(std::make_shared<CountingDataset>(19), drop);
  CHECK(dropping.steps_per_epoch() == 1);
  CHECK(same(epoch_of(dropping, 0), {batches[0]}));
}

TEST_CASE("loader: threads and prefetch change nothing, epoch and seed do", "[data]") {
  const auto data = std::make_shared<CountingDataset>(201);
  LoaderOptions options = small();
  options.augment = kAugment;
  Loader reference(data, options);
  const std::vector<Batch> first = epoch_of(reference, 0);
  const std::vector<Batch> second = epoch_of(reference, 1);
  CHECK_FALSE(first[0].indices == second[0].indices);
  for (const int threads : {0, 1, 2, 3, 4}) {
    for (const int prefetch : {1, 2, 7, 100}) {
      options.threads = threads;
      options.prefetch = prefetch;
      Loader loader(data, options);
      CHECK(same(epoch_of(loader, 1), second));  // epochs in any order
      CHECK(same(epoch_of(loader, 0), first));
    }
  }
  options.seed = 12;
  Loader other(data, options);
  CHECK_FALSE(epoch_of(other, 0)[0].indices == first[0].indices);
  // Another cut into batches sees the same pictures in the same order, changed in the same way.
  options.seed = 11;
  options.lanes = 1;
  Loader narrow(data, options);
  const std::vector<Batch> steps = epoch_of(narrow, 0);
  std::vector<uint8_t> joined, wide;
  for (const Batch& batch : steps) joined.insert(joined.end(), batch.images.begin(), batch.images.end());
  for (const Batch& batch : first) wide.insert(wide.end(), batch.images.begin(), batch.images.end());
  CHECK(joined == wide);
}

TEST_CASE("loader: an epoch can begin at any step, also while another is under way", "[data]") {
  const auto data = std::make_shared<CountingDataset>(100);
  for (const int threads : {0, 2}) {
    LoaderOptions options = small();
    options.threads = threads;
    options.augment = kAugment;
    Loader loader(data, options);
    const std::vector<Batch> whole = epoch_of(loader, 3);
    for (int64_t step = 0; step <= loader.steps_per_epoch(); ++step) {
      loader.start(5);
      loader.next();
      CHECK(same(epoch_of(loader, 3, step), {whole.begin() + step, whole.end()}));
      CHECK(loader.next() == nullptr);
    }
    CHECK_THROWS_AS(loader.start(0, 10), ConfigError);
    CHECK_THROWS_AS(loader.start(-1), ConfigError);
  }
}

TEST_CASE("loader: without shuffling the order is the data set's own", "[data]") {
  LoaderOptions options = small();
  options.shuffle = false;
  Loader loader(std::make_shared<CountingDataset>(20), options);
  CHECK(loader.next() == nullptr);  // not started
  const std::vector<Batch> batches = epoch_of(loader, 4);
  CHECK(batches[0].indices == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(batches[1].indices == std::vector<int64_t>{12, 13, 14, 15, 16, 17, 18, 19});
}

TEST_CASE("loader: a batch keeps still until the next call, and buffers are reused", "[data]") {
  LoaderOptions options = small();
  options.threads = 3;
  options.prefetch = 2;
  Loader loader(std::make_shared<CountingDataset>(200), options);
  std::set<const uint8_t*> buffers;
  for (const int64_t epoch : {0, 1}) {
    loader.start(epoch);
    while (const Batch* batch = loader.next()) {
      const Batch copy = *batch;
      buffers.insert(batch->images.data());
      std::this_thread::yield();
      REQUIRE(copy.images == batch->images);
    }
  }
  CHECK(buffers.size() == 3);  // prefetch + 1
}

TEST_CASE("loader: what goes wrong in a thread reaches the consumer at its step", "[data]") {
  for (const int threads : {0, 1, 3}) {
    LoaderOptions options = small();
    options.threads = threads;
    options.shuffle = false;
    Loader loader(std::make_shared<CountingDataset>(100, /*bad=*/40), options);
    loader.start(2);
    for (int step = 0; step < 3; ++step) REQUIRE(loader.next() != nullptr);
    for (int again = 0; again < 2; ++again) {
      CHECK(testing::message_of<DataError>([&] { loader.next(); }) ==
            "[loader] epoch 2, step 3, picture 40: record 40 is broken");
    }
    loader.start(2, 4);  // the rest can still be read
    CHECK(loader.next()->step == 4);
  }
}

TEST_CASE("loader: it stops cleanly whatever is under way", "[data]") {
  for (const int threads : {1, 2, 4}) {
    for (int taken = 0; taken < 4; ++taken) {
      LoaderOptions options = small();
      options.threads = threads;
      Loader loader(std::make_shared<CountingDataset>(500), options);
      if (taken > 0) loader.start(0);
      for (int i = 1; i < taken; ++i) loader.next();
      CHECK(loader.wait_seconds() >= 0.0);
    }
  }
}

TEST_CASE("loader: options out of range are refused", "[data]") {
  const auto data = std::make_shared<CountingDataset>(10);
  const auto refused = [&](LoaderOptions options) {
    return testing::message_of<ConfigError>([&] { Loader loader(data, options); });
  };
  CHECK(testing::contains(refused({{.micro_batch = 0}}), "micro_batch is 0"));
  CHECK(testing::contains(refused({{.lanes = -1}}), "lanes is -1"));
  CHECK(testing::contains(refused({{}, -1}), "loader_threads is -1"));
  CHECK(testing::contains(refused({{}, 1, 0}), "prefetch is 0"));
  CHECK(testing::contains(refused({{.micro_batch = 11, .lanes = 1, .drop_last = true}}),
                          "10 pictures give no batch of 11"));
  CHECK(testing::contains(refused({{.augment = {Crop{4, PadMode::reflect}}}}), "crop.pad is 4"));
}

}  // namespace tern::data
