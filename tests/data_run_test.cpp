#include "tools/data_run.h"

#include "tests/catch.h"
#include "tests/data_test_util.h"

namespace tern::data {

TEST_CASE("run data: limit, then validation, and a whole test split", "[data]") {
  const testing::TemporaryDir dir;
  testing::write_cifar(cifar_format("cifar10"), dir.path(), 4);
  DataConfig config;
  config.dir = dir.path().string();
  const RunData all = open_run_data(config, 1);
  CHECK(all.train->size() == 20);
  CHECK(all.validation == nullptr);
  CHECK(all.test->size() == 4);
  config.limit = 10;
  config.val_fraction = 0.3;
  const RunData some = open_run_data(config, 1);
  CHECK(some.train->size() == 7);
  CHECK(some.validation->size() == 3);
  CHECK(some.test->size() == 4);
  for (int64_t i = 0; i < 3; ++i) CHECK_FALSE(testing::contains(some.validation->where(i), "data_batch_4"));
  config.name = DataName::synthetic;
  CHECK_THROWS_AS(open_run_data(config, 1), DataError);
}

TEST_CASE("run data: augmentation from the config", "[data]") {
  Config config;
  config.data.normalize.mean = {0.0, 0.5, 1.0};
  config.data.augment = {{.name = AugmentName::crop, .pad = 2, .mode = PadMode::reflect},
                    {.name = AugmentName::crop, .mode = PadMode::zero},
                    {.name = AugmentName::flip, .p = 0.25},
                    {.name = AugmentName::cutout, .size = 6}};
  const std::vector<Augment> steps = loader_options(config).augment;
  REQUIRE(steps.size() == 4);
  CHECK(std::get<Crop>(steps[0]).pad == 2);
  CHECK(std::get<Crop>(steps[0]).mode == PadMode::reflect);
  CHECK(std::get<Crop>(steps[1]).mode == PadMode::zero);
  CHECK(std::get<Flip>(steps[2]).p == 0.25f);
  CHECK(std::get<Cutout>(steps[3]).size == 6);
  CHECK(std::get<Cutout>(steps[3]).fill == std::array<uint8_t, 3>{0, 128, 255});
}

}  // namespace tern::data
