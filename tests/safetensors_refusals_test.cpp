// What the safetensors reader refuses, each with its own message.
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "nn/safetensors.h"
#include "tests/catch.h"
#include "tests/safetensors_bytes.h"
#include "tests/temp_dir.h"

namespace tern {
namespace {

using test::claims;
using test::file_of;

/// A tensor's JSON: `"name":{...}`.
std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

/// A file with one tensor "a" of 4 bytes that has these parts.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t data = 4) {
  return file_of("{" + tensor("a", dtype, shape, offsets) + "}", data);
}

std::string two(const std::string& first, const std::string& second, size_t data) {
  return file_of("{" + tensor("a", "U8", "[4]", first) + "," + tensor("b", "U8", "[4]", second) + "}", data);
}

std::string inner(const std::string& object, size_t data = 4) { return file_of(R"({"a":)" + object + "}", data); }

std::string metadata(const std::string& value) { return file_of(R"({"__metadata__":)" + value + "}"); }

struct Case {
  std::string bytes;
  std::string message;
};

std::vector<Case> frame_cases() {
  return {
      {"", "has 0 bytes, a safetensors file at least 8"},
      {"1234567", "has 7 bytes, a safetensors file at least 8"},
      {claims(100'000'001), "header of 100000001 bytes is too long, at most 100000000 are allowed"},
      {claims(~uint64_t{0}), "header of 18446744073709551615 bytes is too long"},
      {claims(100'000'000), "header of 100000000 bytes goes past the end of the file (10 bytes)"},
      {claims(3), "header of 3 bytes goes past the end of the file (10 bytes)"},
      {file_of(""), "header is empty, wanted a JSON object"},
      {file_of("[]"), "header starts with '[', wanted '{'"},
      {file_of(" {}"), "header starts with ' ', wanted '{'"},
      {file_of(std::string("\0{}", 3)), "header starts with '\\u0000', wanted '{'"},
      {file_of("\xef\xbb\xbf{}"), "header starts with"},
      {file_of("{\"\xff\":1}"), "header is not UTF-8 at byte 10"},
      {file_of("{\"a\xc0\x80\":1}"), "header is not UTF-8 at byte 11"},            // overlong
      {file_of("{\"ab\xed\xa0\x80\":1}"), "header is not UTF-8 at byte 12"},       // a surrogate
      {file_of("{\"abc\xf4\x90\x80\x80\":1}"), "header is not UTF-8 at byte 13"},  // past U+10FFFF
      {file_of("{\"abcd\xe2\x82"), "header is not UTF-8 at byte 14"},              // cut short
      {file_of("{"), "header is not JSON at byte 9"},
      {file_of("{}x"), "header is not JSON at byte 10"},
      {file_of("{}  {}"), "header is not JSON at byte 12"},
      {file_of(R"({"a":})"), "header is not JSON at byte 13"},
      {file_of(R"({"\ud800":1})"), "header is not JSON at byte 16"},
      {file_of("{}", 5), "5 bytes follow the last tensor"},
  };
}

std::vector<Case> entry_cases() {
  return {
      {inner("5"), "tensor 'a': is 5, wanted an object"},
      {inner("null"), "tensor 'a': is null, wanted an object"},
      {inner("[]"), "tensor 'a': is an array, wanted an object"},
      {inner("\"x\""), "tensor 'a': is the string 'x', wanted an object"},
      {inner("{}"), "tensor 'a': dtype is missing"},
      {inner(R"({"dtype":"F32"})"), "tensor 'a': shape is missing"},
      {inner(R"({"dtype":"F32","shape":[]})"), "tensor 'a': data_offsets is missing"},
      {inner(R"({"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1})"), "tensor 'a': unknown key 'x'"},
      {inner(R"({"dtype":"F32","dtype":"F32"})"), "tensor 'a': has the key 'dtype' twice"},
      {inner(R"({"shape":[],"shape":[]})"), "tensor 'a': has the key 'shape' twice"},
      {inner(R"({"dtype":7})"), "tensor 'a': dtype is 7, wanted a string"},
      {inner(R"({"dtype":{}})"), "tensor 'a': dtype is an object, wanted a string"},
      {inner(R"({"shape":4})"), "tensor 'a': shape is 4, wanted an array"},
      {inner(R"({"shape":{}})"), "tensor 'a': shape is an object, wanted an array"},
      {inner(R"({"data_offsets":"0"})"), "tensor 'a': data_offsets is the string '0', wanted an array"},
      {inner(R"({"shape":)" + std::string(100'000, '[')), "tensor 'a': shape holds an array, wanted whole numbers"},
      {one("F31", "[1]", "[0,4]"), "tensor 'a': unknown dtype 'F31', wanted one of F64 F32"},
      {one("f32", "[1]", "[0,4]"), "tensor 'a': unknown dtype 'f32'"},
      {one("I8", "[4]", "[0,4]"), "tensor 'a': dtype I8 is not supported by tern, wanted one of F64 F32"},
      {one("U16", "[2]", "[0,4]"), "tensor 'a': dtype U16 is not supported by tern"},
      {one("BOOL", "[4]", "[0,4]"), "tensor 'a': dtype BOOL is not supported by tern"},
      {one("F8_E4M3", "[4]", "[0,4]"), "tensor 'a': dtype F8_E4M3 is not supported by tern"},
      {one("F32", "[-1]", "[0,4]"), "tensor 'a': shape holds -1, wanted whole numbers from 0"},
      {one("F32", "[1.0]", "[0,4]"), "tensor 'a': shape holds 1.0, wanted"},
      {one("F32", "[1e3]", "[0,4]"), "tensor 'a': shape holds 1e3, wanted"},
      {one("F32", "[true]", "[0,4]"), "tensor 'a': shape holds true, wanted"},
      {one("F32", R"(["1"])", "[0,4]"), "tensor 'a': shape holds the string '1', wanted"},
      {one("F32", "[99999999999999999999]", "[0,4]"), "tensor 'a': shape holds 99999999999999999999, wanted"},
      {one("F32", "[9223372036854775808]", "[0,4]"), "tensor 'a': shape has an extent of 9223372036854775808"},
      {one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "tensor 'a': shape has more than 8 axes"},
      {one("U8", "[4294967296,4294967296]", "[0,4]"), "tensor 'a': shape [4294967296, 4294967296] has more than 2^62"},
      {one("F64", "[4611686018427387904]", "[0,0]", 0),
       "tensor 'a': f64[4611686018427387904] has more than 2^64 bytes"},
      {one("F32", "[1152921504606846976]", "[0,4]"),
       "hold 4 bytes, but f32[1152921504606846976] takes 4611686018427387904"},
      {one("F32", "[1]", "[0,3]"), "tensor 'a': data_offsets [0, 3] hold 3 bytes, but f32[1] takes 4"},
      {one("F32", "[0]", "[0,4]"), "tensor 'a': data_offsets [0, 4] hold 4 bytes, but f32[0] takes 0"},
      {one("F32", "[1]", "[4,0]"), "tensor 'a': data_offsets [4, 0] end before they begin"},
      {one("F32", "[1]", "[]"), "tensor 'a': data_offsets has 0 numbers, wanted 2"},
      {one("F32", "[1]", "[0]"), "tensor 'a': data_offsets has 1 numbers, wanted 2"},
      {one("F32", "[1]", "[0,4,8]"), "tensor 'a': data_offsets has more than 2 numbers"},
      {one("F32", "[1]", "[0,-4]"), "tensor 'a': data_offsets holds -4, wanted whole numbers from 0"},
      {one("F32", "[1]", "[0,4.0]"), "tensor 'a': data_offsets holds 4.0, wanted"},
      {one("F32", "[1]", "[0,null]"), "tensor 'a': data_offsets holds null, wanted"},
  };
}

std::vector<Case> file_cases() {
  const std::string a = tensor("a", "U8", "[4]", "[0,4]");
  return {
      {one("F32", "[1]", "[0,4]", 3), "tensor 'a': ends at byte 4 of the data, which has 3"},
      {one("F32", "[1]", "[18446744073709551611,18446744073709551615]"),
       "tensor 'a': ends at byte 18446744073709551615"},
      {one("F32", "[1]", "[2,6]", 6), "tensor 'a': starts at byte 2 of the data though it is the first, wanted 0"},
      {one("F32", "[1]", "[0,4]", 9), ": 5 bytes follow the last tensor"},
      {two("[0,4]", "[3,7]", 7), "tensor 'b': starts at byte 3 of the data and overlaps 'a', which ends at 4"},
      {two("[0,4]", "[0,4]", 4), "tensor 'b': starts at byte 0 of the data and overlaps 'a', which ends at 4"},
      {two("[4,8]", "[2,6]", 8), "tensor 'b': starts at byte 2 of the data though it is the first"},
      {two("[0,4]", "[6,10]", 10),
       "tensor 'b': starts at byte 6 of the data and leaves a hole after 'a', which ends at 4"},
      {file_of("{" + a + "," + a + "}", 4), "header has the key 'a' twice"},
      {file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"\u0061":{}})", 4),
       "header has the key 'a' twice"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})"), "header has the key '__metadata__' twice"},
      {metadata("[]"), "__metadata__: is an array, wanted an object"},
      {metadata("null"), "__metadata__: is null, wanted an object"},
      {metadata("\"x\""), "__metadata__: is the string 'x', wanted an object"},
      {metadata(R"({"k":1})"), "__metadata__: the value of 'k' is 1, wanted a string"},
      {metadata(R"({"k":null})"), "__metadata__: the value of 'k' is null, wanted a string"},
      {metadata(R"({"k":{}})"), "__metadata__: the value of 'k' is an object, wanted a string"},
      {metadata(R"({"k":[]})"), "__metadata__: the value of 'k' is an array, wanted a string"},
      {metadata(R"({"k":"1","k":"2"})"), "__metadata__: has the key 'k' twice"},
      {metadata(R"({"crc32c.a":"xyz"})"),
       "__metadata__: the value of 'crc32c.a' is 'xyz', wanted 8 hexadecimal digits"},
      {metadata(R"({"crc32c.a":"0000000g"})"), "the value of 'crc32c.a' is '0000000g', wanted 8 hexadecimal"},
      {metadata(R"({"crc32c.a":"-0000001"})"), "the value of 'crc32c.a' is '-0000001', wanted 8 hexadecimal"},
      {metadata(R"({"crc32c.a":"00000000"})"), "__metadata__: checksum of tensor 'a', which is not in the file"},
  };
}

}  // namespace

TEST_CASE("safetensors: malformed files are refused, each with its message", "[safetensors]") {
  std::vector<Case> cases = frame_cases();
  for (auto&& more : {entry_cases(), file_cases()}) cases.insert(cases.end(), more.begin(), more.end());
  std::set<std::string> messages;
  for (const Case& c : cases) {
    std::string got = "accepted";
    try {
      SafetensorsFile::parse(std::as_bytes(std::span(c.bytes)), "bad.safetensors");
    } catch (const DataError& error) {
      got = error.what();
    }
    INFO(c.bytes.substr(0, 200));
    CHECK_THAT(got, HasText("bad.safetensors: ") && HasText(c.message));
    CHECK(got.size() < 600);
    messages.insert(got);
  }
  // The same fault found at the same place is the same message; that is the case for these few only.
  CHECK(messages.size() >= cases.size() - 3);
  CHECK(messages.size() >= 80);
}

TEST_CASE("safetensors: every truncation of a file is refused", "[safetensors]") {
  const std::string whole = two("[0,4]", "[4,8]", 8);
  CHECK_NOTHROW(SafetensorsFile::parse(std::as_bytes(std::span(whole))));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    CHECK_THROWS_AS(SafetensorsFile::parse(std::as_bytes(std::span(cut))), DataError);
  }
}

TEST_CASE("safetensors: tensors may stand in the header in any order, empty ones anywhere between", "[safetensors]") {
  const std::string bytes = file_of("{" + tensor("z", "U8", "[4]", "[4,8]") + "," + tensor("e", "F32", "[0]", "[4,4]") +
                                        "," + tensor("a", "U8", "[4]", "[0,4]") + "}  \n",
                                    8);
  const SafetensorsFile file = SafetensorsFile::parse(std::as_bytes(std::span(bytes)));
  REQUIRE(file.entries().size() == 3);
  CHECK(file.entries()[0].name == "a");
  CHECK(file.entries()[1].name == "e");
  CHECK(file.entries()[2].name == "z");
}

TEST_CASE("safetensors: long and strange names do not flood or break a message", "[safetensors]") {
  const std::string bytes = file_of(R"({")" + std::string(10'000, 'n') + R"(\u001b[31m":1})");
  CHECK_THROWS_WITH(SafetensorsFile::parse(std::as_bytes(std::span(bytes))), HasText("nnn...'"));
  const std::string escape = file_of(R"({"\u001b[31m":1})");
  CHECK_THROWS_WITH(SafetensorsFile::parse(std::as_bytes(std::span(escape))), HasText("'\\u001b[31m'"));
}

TEST_CASE("safetensors: a missing file and a folder are refused by name", "[safetensors]") {
  test::TempDir dir;
  CHECK_THROWS_WITH(SafetensorsFile::open(dir / "absent"), HasText("absent: cannot open: No such file"));
  CHECK_THROWS_WITH(SafetensorsFile::open(dir.path()), HasText("is not a regular file"));
}

}  // namespace tern
