// The report's page and what it is made of: CSV, pictures, comparisons, TensorBoard's records, the live feed.
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/file_size_limit.h"
#include "tests/programs.h"
#include "tools/append_file.h"
#include "tools/csv.h"
#include "tools/dashboard.h"
#include "tools/dashboard_feed.h"
#include "tools/png.h"
#include "tools/report.h"
#include "tools/report_compare.h"
#include "tools/report_networks.h"
#include "tools/report_pictures.h"
#include "tools/report_run.h"
#include "tools/summary.h"
#include "tools/tensorboard.h"

using namespace tern;
using namespace tern::test;
using nlohmann::ordered_json;

namespace {

/// The JSON that the page holds, as it stands there.
std::string data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  return page.substr(begin, page.find("</script>", begin) - begin);
}

/// Three classes; picture i has label i % 3 and is a flat square of the grey value i.
class Squares : public data::Dataset {
 public:
  explicit Squares(int64_t size, data::PictureShape shape = {4, 4, 1}) : size_(size), shape_(shape) {}
  std::string_view name() const override { return "squares"; }
  int64_t size() const override { return size_; }
  data::PictureShape shape() const override { return shape_; }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t index) const override { return index % 3; }
  void read(int64_t index, std::span<uint8_t> hwc) const override { std::ranges::fill(hwc, static_cast<uint8_t>(index)); }
  std::string where(int64_t index) const override { return "square " + std::to_string(index); }

 private:
  int64_t size_;
  data::PictureShape shape_;
  std::vector<std::string> classes_{"a", "b", "c"};
};

Evaluation mistakes(std::initializer_list<Prediction> predictions) { return {.classes = {"a", "b", "c"}, .predictions = predictions}; }

}  // namespace

TEST_CASE("csv: quoted fields come back as they went in; a row that a kill cut off is left out", "[report]") {
  const std::string odd = "a \"b\", c\nd";
  const CsvTable table = parse_csv("name,value\n" + csv_field(odd) + ",1.5\nplain,\ncut,2");
  REQUIRE(table.rows.size() == 2);
  CHECK(table.text(0, "name") == odd);
  CHECK(table.number(0, "value") == 1.5);
  CHECK(!table.number(1, "value"));
  CHECK(!table.number(1, "name"));
  CHECK(table.text(0, "absent").empty());
}

TEST_CASE("report_page: nothing in the data leaves its element, and the page names no other file", "[report]") {
  const std::string evil = "</script><script>alert(1)</script><!-- & @JS@ @CHART@ \u2028 \\";
  const std::string page = report_page({{"kind", "run"}, {"text", evil}});
  CHECK(data_of(page).find_first_of("<>&") == std::string::npos);
  CHECK(ordered_json::parse(data_of(page)).at("text") == evil);
  for (const char* outside : {" src=\"http", "href=\"http", "@import", "@CSS@", "@HTML@"}) {
    INFO(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
  CHECK_THAT(page, HasText("class RunPage"));
  CHECK_THAT(page, HasText("class ComparisonPage"));
}

TEST_CASE("choose_mistakes: the worst of all first, then every cell in turn", "[report]") {
  const Evaluation e = mistakes({{.label = 0, .predicted = 1, .loss = 9},
                                 {.label = 0, .predicted = 1, .loss = 8},
                                 {.label = 0, .predicted = 1, .loss = 7},
                                 {.label = 1, .predicted = 2, .loss = 1},
                                 {.label = 2, .predicted = 2, .loss = 5},
                                 {.label = 2, .predicted = 0, .loss = 2}});
  CHECK(choose_mistakes(e, 1, 4) == std::vector<int64_t>{0, 5, 3, 1});
  CHECK(choose_mistakes(e, 2, 99) == std::vector<int64_t>{0, 1, 5, 3, 2});
  CHECK(choose_mistakes(e, 5, 2) == std::vector<int64_t>{0, 1});
}

TEST_CASE("mistakes_json: a sheet of PNG; large pictures become smaller; other pictures are noticed", "[report]") {
  const Evaluation e = mistakes({{.label = 0, .predicted = 0}, {.label = 1, .predicted = 2, .loss = 2, .probability = 0.5F}, {.label = 2, .predicted = -1, .loss = NAN}});
  const ordered_json shown = mistakes_json(e, Squares(3));
  CHECK(shown.at("sheet").get<std::string>().starts_with("data:image/png;base64,iVBORw0KGgo"));
  CHECK(shown.at("items") == ordered_json::parse("[[2, 2, -1, 0.0, null], [1, 1, 2, 0.5, 2.0]]"));
  const Picture small = shown_picture(Squares(3, {100, 60, 3}), 2, 48);
  CHECK(small.height == 33);
  CHECK(small.width == 20);
  CHECK(small.pixels == std::vector<uint8_t>(33 * 20 * 3, 2));
  CHECK(same_pictures(e, Squares(3)));
  CHECK_FALSE(same_pictures(e, Squares(4)));
  CHECK_FALSE(same_pictures(mistakes({{.label = 1}, {.label = 1}, {.label = 2}}), Squares(3)));
  CHECK(mistakes_json(mistakes({{.label = 0, .predicted = 0}}), Squares(1)).is_null());
}

TEST_CASE("mistakes_json: many large pictures still make a page below two megabytes", "[report]") {
  class Noise : public Squares {
   public:
    Noise() : Squares(3000, {64, 64, 3}) {}
    void read(int64_t index, std::span<uint8_t> hwc) const override {
      uint32_t state = static_cast<uint32_t>(index) * 2654435761u + 1;
      for (uint8_t& value : hwc) value = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
    }
  };
  Evaluation e = mistakes({});
  for (int i = 0; i < 3000; ++i) e.predictions.push_back({.label = i % 3, .predicted = (i + 1) % 3, .loss = 1});
  const size_t size = mistakes_json(e, Noise()).dump().size();
  CHECK(size > 900000);
  CHECK(size < 1700000);
}

TEST_CASE("base64: the examples of RFC 4648", "[report]") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foobar") == "Zm9vYmFy");
}

TEST_CASE("fit_line and seconds_to", "[report]") {
  const double x[] = {1, 2, 3, 4}, y[] = {7, 9, 11, 13}, flat[] = {2, 2, 2, 2};
  const auto fit = fit_line(x, y);
  REQUIRE(fit);
  CHECK(fit->slope == Approx(2));
  CHECK(fit->intercept == Approx(5));
  CHECK(fit->r2 == Approx(1));
  CHECK(fit_line(x, flat)->r2 == 1);
  CHECK(!fit_line(flat, y));
  const ordered_json metrics = {{"seconds", {10, nullptr, 5.5}}, {"test_acc", {0.2, 0.4, 0.6}}};
  CHECK(seconds_to(metrics, 0.4) == 10);
  CHECK(seconds_to(metrics, 0.5) == 15.5);
  CHECK(!seconds_to(metrics, 0.7));
  CHECK(!seconds_to(ordered_json::object(), 0.1));
}

TEST_CASE("network_facts: the seed's two networks", "[report]") {
  Context context({.threads = 1});
  const auto facts = [&](const std::string& name, int micro_batch, int lanes) {
    const auto network = nn::build_network(context, nn::network_preset(name), {}, 1);
    Config config;
    config.train.micro_batch = micro_batch;
    config.train.lanes = lanes;
    return network_facts({{"parameters", 0}, {"flops", network->forward_flops()}, {"layers", layers_json(network->layers())}}, config);
  };
  const ordered_json current = facts("cifar-cnn", 32, 4), legacy = facts("lenet", 4, 1), resnet = facts("resnet18", 32, 4);
  CHECK(current.at("first_filters") == 32);
  CHECK(legacy.at("first_filters") == 6);
  CHECK(current.at("widest") == 8 * legacy.at("widest").get<int>());
  CHECK(current.at("effective_batch") == 32 * legacy.at("effective_batch").get<int>());
  CHECK(current.at("head") == 128 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10);
  CHECK(current.at("flat_head") == 16 * 128 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10);
  CHECK(current.at("saved").get<double>() == Approx(0.92).epsilon(0.01));
  CHECK(legacy.at("saved").is_null());
  CHECK(resnet.at("flat_head") == 16 * 512 * 10 + 10);
  CHECK(network_facts(nullptr, {}).at("parameters").is_null());

  const std::string text = network_facts_text({{{"name", "current"}, {"facts", current}}, {{"name", "legacy"}, {"facts", legacy}}});
  CHECK_THAT(text, HasText("5.333 (+433.3 %)"));
  CHECK_THAT(text, HasText("92.0 "));
}

TEST_CASE("tf_record: the frame of TensorFlow's own writer", "[report]") {
  // What tensorboard.summary.writer.record_writer.RecordWriter makes of b"abc".
  const unsigned char expected[] = {3, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0x99, 0x49, 0x0e, 'a', 'b', 'c', 0x6e, 0x57, 0xf1, 0x21};
  CHECK(tf_record("abc") == std::string(reinterpret_cast<const char*>(expected), sizeof expected));
}

TEST_CASE("rewind_events: later steps, a cut-off record and the mistakes go; the rest stays byte for byte", "[report]") {
  const TempDir dir;
  EventWriter writer(dir.path());
  for (int64_t step : {100, 200, 300}) writer.scalars(step, {{"x", 1.0}});
  EventWriter(dir.path(), ".mistakes").image(300, "m", Picture(2, 2, 3));
  std::filesystem::path file, mistakes;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) (entry.path().string().ends_with(".mistakes") ? mistakes : file) = entry.path();
  const std::string whole = read_file(file);
  rewind_events(dir.path(), 300);
  CHECK(read_file(file) == whole);
  const std::string begin = read_file(mistakes);  // the version alone; the file stays, as a TensorBoard may be reading it
  CHECK(begin.size() < 60);
  CHECK_THAT(begin, HasText("brain.Event:2"));
  write_file(file, whole.substr(0, whole.size() - 1));
  rewind_events(dir.path(), 300);
  const std::string two = read_file(file);
  CHECK(two.size() < whole.size());
  CHECK(whole.starts_with(two));
  {
    const FileSizeLimit full(16);
    rewind_events(dir.path(), 199);  // a full disk does not matter
  }
  CHECK(read_file(file).size() < two.size());
  rewind_events(dir.path() / "absent", 0);
}

TEST_CASE("AppendFile: a record that finds no room is taken back, and later ones are whole", "[report]") {
  const TempDir dir;
  AppendFile file(dir / "log");
  CHECK(file.append("one\n"));
  {
    const FileSizeLimit full(6);
    CHECK_FALSE(file.append("two\n"));
    CHECK(read_file(dir / "log") == "one\n");
    CHECK(file.append("2\n"));
  }
  CHECK(file.append("three\n"));
  CHECK(file.size() == 12);
  CHECK(read_file(dir / "log") == "one\n2\nthree\n");
  CHECK(AppendFile(dir / "log").size() == 12);
  CHECK_FALSE(AppendFile().append("x"));
  CHECK_THROWS_WITH(AppendFile(dir / "absent/log"), HasText("absent/log: cannot be written: No such file"));
}

TEST_CASE("EventWriter: an event that finds no room leaves no cut-off record behind", "[report]") {
  const TempDir dir;
  EventWriter writer(dir.path());
  const auto file = [&] { return std::filesystem::directory_iterator(dir.path())->path(); };
  {
    const FileSizeLimit full(20);
    writer.scalars(1, {{"x", 1.0}});
    CHECK_FALSE(writer.good());
    CHECK(read_file(file()).empty());
  }
  writer.scalars(2, {{"x", 1.0}});
  CHECK(writer.good());
  const std::string before = read_file(file());
  {
    const FileSizeLimit full(before.size() + 20);
    writer.scalars(3, {{"x", 1.0}});
    CHECK_FALSE(writer.good());
  }
  CHECK(read_file(file()) == before);
  writer.restarted(3);
  writer.scalars(3, {{"x", 1.0}});
  CHECK(writer.good());
  const std::string whole = read_file(file());
  CHECK(whole.size() > 2 * before.size() - 24);
  rewind_events(dir.path(), 3);  // would take out what is not whole
  CHECK(read_file(file()) == whole);
}

TEST_CASE("EventWriter: a new file's name is behind those of the folder, also where the clock was put back", "[report]") {
  const TempDir dir;
  for (const char* name : {"events.out.tfevents.9000000000.tern.999999.mistakes", "events.out.tfevents.1234567890.else"}) write_file(dir / name, "");
  EventWriter(dir.path()).scalars(1, {{"x", 1.0}});
  CHECK(std::filesystem::exists(dir / "events.out.tfevents.9000000001.tern.000000"));
  const TempDir empty;
  for (int i = 0; i < 3; ++i) EventWriter(empty.path()).scalars(1, {{"x", 1.0}});
  CHECK(std::distance(std::filesystem::directory_iterator(empty.path()), std::filesystem::directory_iterator()) == 3);
}

TEST_CASE("contact_sheet: pictures in rows, black behind the last", "[report]") {
  std::vector<Picture> pictures;
  for (uint8_t value : {10, 20, 30}) {
    pictures.emplace_back(2, 1, 1);
    pictures.back().pixels.assign(2, value);
  }
  const Picture sheet = contact_sheet(pictures, 2);
  CHECK(sheet.height == 4);
  CHECK(sheet.pixels == std::vector<uint8_t>{10, 20, 10, 20, 30, 0, 30, 0});
}

TEST_CASE("RunFeed: everything first, then what is new, and everything again after a resume went back", "[report]") {
  const TempDir dir;
  const auto add = [&](const char* name, const std::string& text) { std::ofstream(dir / name, std::ios::app) << text; };
  RunFeed feed(dir.path());
  REQUIRE(feed.next());
  CHECK(!feed.next());
  add("metrics.csv", "epoch,test_acc\n1,0.5\n");
  add("steps.jsonl", "{\"step\": 1, \"loss\": 2.0}\n{\"step\": 2, \"lo");
  auto news = feed.next();
  REQUIRE(news);
  CHECK(!news->contains("reset"));
  CHECK(news->at("metrics") == ordered_json::parse(R"({"epoch": [1.0], "test_acc": [0.5]})"));
  CHECK(news->at("steps") == ordered_json::parse(R"({"step": [1], "loss": [2.0]})"));
  add("steps.jsonl", "ss\": null}\n");
  add("metrics.csv", "2,0.75\n");
  news = feed.next();
  REQUIRE(news);
  CHECK(news->at("metrics").at("test_acc") == ordered_json::parse("[0.75]"));
  CHECK(news->at("steps") == ordered_json::parse(R"({"step": [2], "loss": [null]})"));
  write_file(dir / "metrics.csv", "epoch,test_acc\n1,0.5\n");
  news = feed.next();
  REQUIRE(news);
  CHECK(news->at("reset") == true);
  CHECK(news->at("metrics").at("epoch").size() == 1);
}

TEST_CASE("is_loopback_host: names and addresses that reach this machine alone", "[report]") {
  for (const char* host : {"localhost", "127.0.0.1", "127.9.9.9", "::1"}) CHECK(is_loopback_host(host));
  for (const char* host : {"", "0.0.0.0", "192.168.1.2", "example.org", "127.example.org", "::"}) CHECK_FALSE(is_loopback_host(host));
}
