// Pictures against what Pillow made of them (tests/fixtures/make_pictures.py), and files that are no pictures.
#include <fstream>
#include <sstream>

#include "tests/catch.h"
#include "tests/data_test_util.h"
#include "tools/picture_resize.h"

namespace tern::data {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

fs::path fixture(const std::string& name) { return fs::path(TERN_FIXTURES) / "pictures" / name; }

Picture decode(const std::string& bytes) { return decode_picture({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}); }
std::string refusal(const std::string& bytes) {
  return testing::message_of<DataError>([&] { decode(bytes); });
}

}  // namespace

TEST_CASE("pictures: decoded and scaled to Pillow's bytes", "[data][pictures]") {
  std::ifstream cases(fixture("cases.csv"));
  std::string line;
  std::getline(cases, line);
  int count = 0;
  while (std::getline(cases, line)) {
    std::istringstream fields(line);
    std::string file, height, width, fit, expected;
    for (std::string* field : {&file, &height, &width, &fit, &expected}) std::getline(fields, *field, ',');
    INFO(line);
    const Picture got = fit_picture(read_picture(fixture(file)), std::stoi(height), std::stoi(width), fit == "crop" ? Fit::crop : Fit::stretch);
    REQUIRE(got.height == std::stoi(height));
    REQUIRE(got.width == std::stoi(width));
    const std::string ppm = bytes_of(fixture(expected));
    REQUIRE(ppm.size() > got.rgb.size());
    int worst = 0;
    for (size_t i = 0; i < got.rgb.size(); ++i)
      worst = std::max(worst, std::abs(got.rgb[i] - static_cast<uint8_t>(ppm[ppm.size() - got.rgb.size() + i])));
    // PNG is exact; another libjpeg may round its colours differently.
    CHECK(worst <= (file.ends_with(".png") ? 0 : 2));
    ++count;
  }
  CHECK(count == 30);
}

TEST_CASE("pictures: every cut of a file is an error, never a grey picture", "[data][pictures]") {
  for (const char* name : {"rgb.png", "palette.png", "rgb.jpg", "progressive.jpg", "cmyk.jpg"}) {
    const std::string whole = bytes_of(fixture(name));
    for (size_t size = 0; size + 2 < whole.size(); size += size < 64 ? 1 : 37) {
      INFO(name << " cut after " << size << " of " << whole.size());
      CHECK_FALSE(refusal(whole.substr(0, size)).empty());
    }
  }
}

TEST_CASE("pictures: what is no sound picture is refused by name", "[data][pictures]") {
  CHECK(refusal("") == "is empty");
  CHECK(refusal("GIF89a") == "is neither JPEG nor PNG");
  std::string png = bytes_of(fixture("rgb.png"));
  png[60] = static_cast<char>(png[60] ^ 1);
  CHECK_THAT(refusal(png), HasText("is a damaged PNG: "));
  std::string jpeg = bytes_of(fixture("rgb.jpg"));
  const size_t frame = jpeg.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  jpeg.replace(frame + 5, 4, "\x7f\xff\x7f\xff");  // height and width
  CHECK_THAT(refusal(jpeg), HasText("is 32767 x 32767 pixels, wanted at most 65,535 a side and 67,108,864 in all"));

  const testing::TemporaryDir dir;
  testing::write_bytes(dir.path() / "a.jpg", "text");
  CHECK(testing::message_of<DataError>([&] { read_picture(dir.path() / "a.jpg"); }) == (dir.path() / "a.jpg").string() + " is neither JPEG nor PNG");
  CHECK_THAT(testing::message_of<DataError>([&] { read_picture(dir.path() / "b.jpg"); }), HasText("b.jpg: cannot open"));
}

TEST_CASE("pictures: EXIF that is damaged turns nothing", "[data][pictures]") {
  const auto orientation = [](std::string_view tiff) { return exif_orientation({reinterpret_cast<const uint8_t*>(tiff.data()), tiff.size()}); };
  using namespace std::string_view_literals;
  CHECK(orientation("MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0"sv) == 6);
  CHECK(orientation("II*\0\10\0\0\0\1\0\22\1\3\0\1\0\0\0\10\0\0\0"sv) == 8);
  CHECK(orientation("II*\0\10\0\0\0\1\0\22\1\3\0\1\0\0\0\11\0\0\0"sv) == 1);     // 9 is none
  CHECK(orientation("II*\0\xff\xff\xff\xff\1\0"sv) == 1);                          // a directory past the end
  CHECK(orientation("II*\0\10\0\0\0\377\377\22\1\3\0"sv) == 1);                    // an entry cut off
  CHECK(orientation("II"sv) == 1);
}

TEST_CASE("resize: a window of a scaled picture is a part of it", "[data][pictures]") {
  const Picture picture = read_picture(fixture("wide.png"));
  const Picture whole = resize(picture, {.height = 30, .width = 50, .rows = 30, .columns = 50});
  const Picture part = resize(picture, {.height = 30, .width = 50, .top = 7, .left = 11, .rows = 9, .columns = 13});
  for (int y = 0; y < 9; ++y)
    CHECK(std::equal(part.rgb.begin() + y * 39, part.rgb.begin() + (y + 1) * 39, whole.rgb.begin() + ((y + 7) * 50 + 11) * 3));
  CHECK_THROWS_AS(resize(picture, {.height = 30, .width = 50, .top = 25, .rows = 9, .columns = 13}), ConfigError);
  // A strip that would be 14 million pixels wide if it were scaled whole.
  const Picture strip{1, 65535, std::vector<uint8_t>(3 * 65535, 7)};
  CHECK(fit_picture(strip, 224, 224, Fit::crop).rgb == std::vector<uint8_t>(3 * 224 * 224, 7));
}

}  // namespace tern::data
