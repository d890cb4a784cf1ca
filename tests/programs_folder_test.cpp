// People's own pictures through the programs: train, resume, evaluate, predict.
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/programs.h"

namespace tern::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kPictures = fs::path(TERN_FIXTURES) / "pictures";

/// Two classes of 8 pictures each in DIR/pictures.
void write_pictures(const Workbench& bench) {
  for (const char* name : {"wide.png", "rgb.png", "grey.png", "rgb.jpg", "cmyk.jpg", "alpha.png", "palette.png", "bits.png"})
    for (const char* label : {"cat", "dog"}) {
      fs::create_directories(bench / "pictures" / label);
      fs::copy_file(kPictures / name, bench / "pictures" / label / name);
    }
}

void write_folder_config(const Workbench& bench, const json& changes = json::object()) {
  json config = Workbench::config();
  config["model"] = {{"name", "cifar-cnn"}, {"convs_per_block", 1}};
  config["optim"] = {{"name", "adamw"}};
  config["schedule"] = {{"name", "constant"}};
  config["data"] = {{"name", "folder"}, {"dir", "pictures"}, {"size", {24, 16}}, {"val_fraction", 0.25}};
  config["data"].update(changes);
  bench.write_config("folder.json", config);
}

}  // namespace

TEST_CASE("programs: a folder of pictures trains, resumes to the same bytes, is evaluated and predicted", "[programs][folder]") {
  const Workbench bench;
  write_pictures(bench);
  write_folder_config(bench);
  const Args quiet{"--progress", "lines", "--epochs", "2"};
  const auto train = [&](Args more) {
    more.insert(more.end(), quiet.begin(), quiet.end());
    return bench.train(more, "folder.json");
  };
  const Outcome trained = train({"--out", "run"});
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK_THAT(trained.err, HasText("12 pictures of 2 classes scaled to 24 x 16: 1 MiB in memory"));
  REQUIRE(train({"--out", "other", "--threads", "1", "--set", "data.loader_threads=3", "--set", "data.cache_mb=0"}).code == 0);
  CHECK(bench.last_digest("other") == bench.last_digest("run"));

  const Outcome evaluated = bench.run({"evaluate", "run", "--json"});
  INFO(evaluated.err);
  REQUIRE(evaluated.code == 0);
  const json scores = json::parse(evaluated.out)["checkpoints"][0];
  CHECK(scores["pictures"] == 4);
  CHECK(scores["per_class"][1]["class"] == "dog");

  write_file(bench / "bad.jpg", "text");
  const Outcome predicted = bench.run({"trainer", "predict", "run", "pictures/cat/rgb.png", "bad.jpg", "pictures/dog", "--json", "--top", "1"});
  CHECK(predicted.code == 3);
  CHECK_THAT(predicted.err, HasText("1 of 10 pictures have no answer"));
  const json answers = json::parse(predicted.out)["pictures"];
  REQUIRE(answers.size() == 10);
  CHECK(answers[0]["file"] == "pictures/cat/rgb.png");
  CHECK(answers[0]["top"].size() == 1);
  CHECK(answers[1]["error"] == "bad.jpg is neither JPEG nor PNG");
  CHECK(answers[2]["file"] == "pictures/dog/alpha.png");
}

TEST_CASE("programs: predict says what evaluate measures", "[programs][folder]") {
  const Workbench bench;
  write_pictures(bench);
  write_folder_config(bench);
  REQUIRE(bench.train({"--out", "run", "--epochs", "1", "--progress", "none"}, "folder.json").code == 0);
  REQUIRE(bench.run({"evaluate", "run", "--split", "train", "--predictions", "train.csv"}).code == 0);
  const json all = json::parse(bench.run({"trainer", "predict", "run", "pictures", "--json"}).out)["pictures"];
  std::map<std::string, int> predicted;
  for (const json& answer : all) {
    CHECK(answer["top"].size() == 2);
    CHECK(answer["top"][0]["probability"].get<double>() + answer["top"][1]["probability"].get<double>() == Approx(1));
    ++predicted[answer["top"][0]["class"].get<std::string>()];
  }
  CHECK(all.size() == 16);
  REQUIRE(bench.run({"evaluate", "run", "--predictions", "test.csv"}).code == 0);
  std::map<std::string, int> evaluated;
  for (const char* file : {"train.csv", "test.csv"})
    for (const std::string& name : csv_column(bench / file, "predicted")) ++evaluated[name];
  CHECK(predicted == evaluated);
  const Outcome text = bench.run({"trainer", "predict", "run", "pictures/cat/rgb.png", "--tta", "flip"});
  CHECK(text.code == 0);
  CHECK_THAT(text.out, HasText("pictures/cat/rgb.png\n"));
  CHECK_THAT(text.out, HasText(" %  dog"));
}

TEST_CASE("programs: a size too small for a network names the layer", "[programs][folder]") {
  const Workbench bench;
  write_pictures(bench);
  for (const auto& [model, size, says] : {std::tuple{"lenet", 12, "layer 'conv2' (conv2d) does not fit its input"}, {"cifar-cnn", 4, "(max_pool) does not fit its input"}}) {
    json config = Workbench::config();
    config["model"] = {{"name", model}};
    config["optim"] = {{"name", "adamw"}};
    config["schedule"] = {{"name", "constant"}};
    config["data"] = {{"name", "folder"}, {"dir", "pictures"}, {"size", size}, {"val_fraction", 0.25}};
    bench.write_config("small.json", config);
    const Outcome outcome = bench.train({"--dry-run", "--progress", "none"}, "small.json");
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, HasText(says));
  }
  json config = Workbench::config();
  for (const auto& [model, size] : {std::pair{"lenet", 45}, {"cifar-cnn", 40}, {"resnet18", 20}}) {
    INFO(model);
    config["model"] = {{"name", model}};
    config["optim"] = {{"name", "adamw"}};
    config["schedule"] = {{"name", "constant"}};
    config["data"] = {{"name", "folder"}, {"dir", "pictures"}, {"size", size}, {"val_fraction", 0.25}};
    bench.write_config("fits.json", config);
    const Outcome outcome = bench.train({"--dry-run", "--progress", "none"}, "fits.json");
    INFO(outcome.err);
    CHECK(outcome.code == 0);
  }
}

}  // namespace tern::test
