#include "nn/safetensors.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"

namespace tern {
namespace {

using test::TempDir;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class T>
std::vector<T> values_of(const SafetensorsFile& file, std::string_view name) {
  const TensorEntry& entry = file.at(name);
  REQUIRE(entry.spec.dtype == dtype_of<T>);
  std::vector<T> values(static_cast<size_t>(entry.spec.numel()));
  if (!values.empty()) std::memcpy(values.data(), file.bytes(entry).data(), entry.spec.bytes());
  return values;
}

template <class T>
std::vector<float> floats_of(const SafetensorsFile& file, std::string_view name) {
  std::vector<float> result;
  for (T value : values_of<T>(file, name)) result.push_back(static_cast<float>(value));
  return result;
}

/// Tensors of every dtype over bytes that count up, in an order that is not the file's.
struct Sample {
  std::string data = [] {
    std::string bytes(96, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 37);
    return bytes;
  }();
  std::vector<TensorSource> sources;

  Sample() {
    for (DType dtype : {DType::u8, DType::f16, DType::i64, DType::f32, DType::bf16, DType::i32, DType::f64})
      add("t." + std::string(name_of(dtype)), {dtype, {3, 2}});
    add("scalar", {DType::f32, {}});
    add("empty", {DType::f64, {0, 5}});
    add("gr\xc3\xb6\xc3\x9f"
        "e \"q\"\\\n",
        {DType::u8, {5}});
    add("", {DType::u8, {1}});
  }
  void add(std::string name, Spec spec) {
    sources.push_back(tensor_source(std::move(name), spec, bytes_of(data).first(spec.bytes())));
  }
};

const Metadata kSampleMetadata = {{"format", "pt"}, {"b", ""}, {"a\"\n", "\xe2\x82\xac"}};

/// The reference library's view of a file by tests/fixtures/read_safetensors.py; the exit code and what it printed.
std::pair<int, std::string> python_reads(const std::filesystem::path& path) {
  const char* chosen = std::getenv("TERN_PYTHON");
  const std::string command = std::string(chosen ? chosen : "python3") + " '" TERN_FIXTURES "/read_safetensors.py' '" +
                              path.string() + "' 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

}  // namespace

TEST_CASE("safetensors: what is written comes back", "[safetensors]") {
  for (bool durable : {true, false}) {
    TempDir dir;
    const Sample sample;
    write_safetensors(dir / "w.safetensors", sample.sources, kSampleMetadata, {.durable = durable});
    const SafetensorsFile file = SafetensorsFile::open(dir / "w.safetensors");
    CHECK(file.metadata() == kSampleMetadata);
    CHECK(file.entries().size() == sample.sources.size());
    for (const TensorSource& source : sample.sources) {
      const TensorEntry& entry = file.at(source.name);
      CHECK(entry.spec == source.spec);
      CHECK(entry.crc32c.has_value());
      CHECK(std::ranges::equal(file.bytes(entry), source.bytes()));
    }
    CHECK(file.find("absent") == nullptr);
    CHECK_THROWS_WITH(file.at("absent"), HasText("w.safetensors: has no tensor 'absent' among its 11"));
  }
}

TEST_CASE("safetensors: a file without tensors comes back", "[safetensors]") {
  TempDir dir;
  write_safetensors(dir / "none", {});
  CHECK(SafetensorsFile::open(dir / "none").entries().empty());
  CHECK(text_of(dir / "none").size() == 16);
}

TEST_CASE("safetensors: equal content gives equal bytes, padded and aligned", "[safetensors]") {
  TempDir dir;
  Sample sample;
  write_safetensors(dir / "a", sample.sources, kSampleMetadata);
  std::ranges::reverse(sample.sources);
  write_safetensors(dir / "b", sample.sources, kSampleMetadata);
  const std::string bytes = text_of(dir / "a");
  CHECK(bytes == text_of(dir / "b"));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  CHECK(length % 8 == 0);
  const SafetensorsFile file = SafetensorsFile::open(dir / "a");
  for (const TensorEntry& entry : file.entries()) CHECK(entry.offset % size_of(entry.spec.dtype) == 0);

  // Pinned: a change of these bytes breaks the comparison of runs made before and after it.
  const std::string two = std::string("\1\2\3\4", 4);
  const std::array sources = {tensor_source("b", {DType::u8, {2}}, bytes_of(two).first(2)),
                              tensor_source("a", {DType::f32, {1}}, bytes_of(two))};
  write_safetensors(dir / "c", sources);
  CHECK(text_of(dir / "c").substr(8) ==
        R"({"__metadata__":{"crc32c.a":"29308cf4","crc32c.b":"03f89f52"},"a":{"dtype":"F32","shape":[1],)"
        R"("data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})"
        " \1\2\3\4\1\2");
}

TEST_CASE("safetensors: sources are asked once, in the file's order, and may share a buffer", "[safetensors]") {
  TempDir dir;
  std::string buffer(4, '\0');
  std::string asked;
  std::vector<TensorSource> sources;
  for (char name : {'c', 'a', 'b'}) {
    sources.push_back({std::string(1, name), {DType::u8, {4}}, [&buffer, &asked, name] {
                         asked += name;
                         buffer.assign(4, name);
                         return bytes_of(buffer);
                       }});
  }
  write_safetensors(dir / "w", sources);
  CHECK(asked == "abc");
  const std::string written = text_of(dir / "w");
  CHECK(written.substr(written.size() - 12) == "aaaabbbbcccc");
}

TEST_CASE("safetensors: a flipped bit is found and named", "[safetensors]") {
  TempDir dir;
  const Sample sample;
  write_safetensors(dir / "w", sample.sources);
  std::string bytes = text_of(dir / "w");
  const TensorEntry entry = SafetensorsFile::open(dir / "w").at("t.f32");
  bytes[entry.offset + 5] ^= 0x10;
  const SafetensorsFile file = SafetensorsFile::parse(bytes_of(bytes), "broken");
  CHECK_THROWS_AS(file.bytes(file.at("t.f32")), DataError);
  CHECK_THROWS_WITH(file.bytes(file.at("t.f32")),
                    HasText("broken: tensor 't.f32': bytes " + std::to_string(entry.offset) + " to " +
                            std::to_string(entry.offset + 24) + " have checksum"));
  CHECK_NOTHROW(file.bytes(file.at("t.f64")));
}

TEST_CASE("safetensors: the writer refuses what no file can hold", "[safetensors]") {
  TempDir dir;
  const std::string data(64, 'x');
  const auto write = [&](std::vector<TensorSource> sources, const Metadata& metadata = {}) {
    write_safetensors(dir / "w", sources, metadata);
  };
  const auto u8 = [&](std::string name, size_t bytes = 4) {
    return tensor_source(std::move(name), {DType::u8, {4}}, bytes_of(data).first(bytes));
  };
  write({u8("old")});
  CHECK_THROWS_WITH(write({u8("a"), u8("b"), u8("a")}), HasText("two tensors are named 'a'"));
  CHECK_THROWS_WITH(write({u8("__metadata__")}), HasText("cannot be named __metadata__"));
  CHECK_THROWS_WITH(write({u8("\xff")}), HasText("tensor name") && HasText("is not UTF-8"));
  CHECK_THROWS_WITH(write({u8("a", 3)}), HasText("'a': source gave 3 bytes, but u8[4] takes 4"));
  CHECK_THROWS_WITH(write({}, {{"crc32c.a", "1"}}), HasText("reserved for checksums"));
  CHECK_THROWS_WITH(write({}, {{"k", "\xc0\x80"}}), HasText("metadata value"));
  CHECK_THROWS_WITH(write({}, {{"\xed\xa0\x80", "v"}}), HasText("metadata key"));
  CHECK_THROWS_AS(write({u8("a"), u8("a")}), ConfigError);
  CHECK(SafetensorsFile::open(dir / "w").find("old"));
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("safetensors: a source that fails or a disk that does keeps the old file", "[safetensors]") {
  TempDir dir;
  const Sample sample;
  write_safetensors(dir / "w", sample.sources);
  const std::string old = text_of(dir / "w");
  std::vector<TensorSource> failing = sample.sources;
  failing[3].bytes = []() -> std::span<const std::byte> { throw DeviceError("gone"); };
  CHECK_THROWS_AS(write_safetensors(dir / "w", failing), DeviceError);
  CHECK_THROWS_WITH(write_safetensors(dir / "w", sample.sources, {}, {.sync = [](int) { return errno = EIO, -1; }}),
                    HasText("cannot flush to the disk"));
  CHECK(text_of(dir / "w") == old);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("safetensors: a file that reads back differently never gets its name", "[safetensors]") {
  TempDir dir;
  const Sample sample;
  // What the disk does to the bytes after the flush.
  const auto damaging_sync = [](int fd) {
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
    char last = 0;
    if (::pread(fd, &last, 1, info.st_size - 1) != 1) return -1;
    last = static_cast<char>(~last);
    return ::pwrite(fd, &last, 1, info.st_size - 1) == 1 ? 0 : -1;
  };
  CHECK_THROWS_WITH(write_safetensors(dir / "w", sample.sources, {}, {.sync = damaging_sync}),
                    HasText("does not read back") && HasText("have checksum"));
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("safetensors: reads what the reference library wrote", "[safetensors]") {
  const SafetensorsFile file = SafetensorsFile::open(TERN_FIXTURES "/python_all_dtypes.safetensors");
  const std::vector<float> ramp = {-1.0f, -0.5f, 0.0f, 0.5f, 1.0f, 1.5f};
  CHECK(file.at("float").spec == Spec{DType::f32, {2, 3}});
  CHECK(floats_of<double>(file, "double") == ramp);
  CHECK(floats_of<float>(file, "float") == ramp);
  CHECK(floats_of<Half>(file, "half") == ramp);
  CHECK(floats_of<BFloat16>(file, "bfloat") == ramp);
  CHECK(values_of<int64_t>(file, "long") == std::vector<int64_t>{-20, -13, -6, 1, 8, 15});
  CHECK(values_of<int32_t>(file, "int") == std::vector<int32_t>{-20, -13, -6, 1, 8, 15});
  CHECK(values_of<uint8_t>(file, "byte") == std::vector<uint8_t>{0, 7, 14, 21, 28, 35});
  CHECK(values_of<int64_t>(file, "bn1.num_batches_tracked") == std::vector<int64_t>{123456789012});
  CHECK(file.at("bn1.num_batches_tracked").spec.shape.rank() == 0);
  CHECK(file.at("empty").spec == Spec{DType::f32, {0, 4}});
  CHECK(floats_of<float>(file,
                         "gr\xc3\xb6\xc3\x9f"
                         "e \"q\"/\\") == std::vector<float>{1.25f});
  CHECK(file.metadata() == Metadata{{"format", "pt"}, {"note", "na\xc3\xafve\n\"quoted\""}});
  CHECK(file.entries().size() == 10);
  CHECK(SafetensorsFile::open(TERN_FIXTURES "/python_empty.safetensors").entries().empty());
  CHECK_THROWS_WITH(SafetensorsFile::open(TERN_FIXTURES "/python_bool.safetensors"),
                    HasText("tensor 'mask': dtype BOOL is not supported by tern"));
}

TEST_CASE("safetensors: the reference library reads what we write", "[safetensors]") {
  TempDir dir;
  const std::string data("\0\0\x80\x3f\0\0\0\x40", 8);  // 1.0f, 2.0f
  const std::array sources = {tensor_source("fc.weight", {DType::f32, {2, 1}}, bytes_of(data)),
                              tensor_source("count", {DType::i64, {}}, bytes_of(data)),
                              tensor_source("none", {DType::f16, {0}}, {}),
                              tensor_source("gr\xc3\xb6\xc3\x9f"
                                            "e",
                                            {DType::bf16, {1, 2}}, bytes_of(data).first(4))};
  write_safetensors(dir / "w", sources, {{"epoch", "3"}});
  const auto [code, output] = python_reads(dir / "w");
  if (code == 77 || code == 127) SKIP("no Python with the safetensors library (TERN_PYTHON chooses one)");
  CHECK(code == 0);
  CHECK(output ==
        "count I64 [] 0000803f00000040\n"
        "fc.weight F32 [2, 1] 0000803f00000040\n"
        "gr\xc3\xb6\xc3\x9f"
        "e BF16 [1, 2] 0000803f\n"
        "none F16 [0] \n"
        "metadata [('epoch', '3')]\n");
}

}  // namespace tern
