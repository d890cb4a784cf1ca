// Weights and checkpoints that evaluate and trainer must refuse: exit 3 with file and tensor.
#include <cstring>

#include "nn/safetensors.h"
#include "tests/malformed.h"
#include "tests/safetensors_bytes.h"

namespace tern::test {
namespace {

namespace fs = std::filesystem;

/// A header's entry for a tensor of 4 bytes at `offsets`.
std::string entry(const std::string& name, const std::string& offsets, const std::string& dtype = "F32",
                  const std::string& shape = "[1]") {
  return '"' + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

/// A file of one tensor "a".
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets, size_t data = 4) {
  return file_of("{" + entry("a", offsets, dtype, shape) + "}", data);
}

std::string two(const std::string& first, const std::string& second, size_t data) {
  return file_of("{" + entry("a", first) + "," + entry("b", second) + "}", data);
}

Case weights_case(const std::string& bytes, const std::string& says) {
  return {{"evaluate", "bad.safetensors", "--model", "tiny.json"},
          3,
          "bad.safetensors: " + says,
          [bytes](const Workbench& bench) { write_file(bench / "bad.safetensors", bytes); }};
}

/// What a checkpoint is made of, for changing it.
struct Parts {
  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> bytes;
  Metadata metadata;

  TensorEntry& at(const std::string& name) {
    return *std::ranges::find(entries, name, &TensorEntry::name);
  }
};

/// A case on a copy of `good` that `change` has changed.
template <class Change>
Case changed(const fs::path& good, Args command, int code, const std::string& says, const Change& change) {
  const auto prepare = [good, change](const Workbench& bench) {
    const SafetensorsFile file = SafetensorsFile::open(good);
    Parts parts{.entries = {}, .bytes = {}, .metadata = file.metadata()};
    for (const TensorEntry& e : file.entries()) {
      parts.entries.push_back(e);
      const auto bytes = file.bytes(e);
      parts.bytes[e.name] = std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    change(parts);
    std::vector<TensorSource> sources;
    for (const TensorEntry& e : parts.entries)
      sources.push_back(tensor_source(e.name, e.spec, std::as_bytes(std::span(parts.bytes[e.name]))));
    write_safetensors(bench / "bad.safetensors", sources, parts.metadata);
  };
  return {std::move(command), code, says, prepare};
}

/// Renames a tensor.
void rename(Parts& parts, const std::string& from, const std::string& to) {
  parts.bytes[to] = parts.bytes[from];
  parts.at(from).name = to;
}

/// Tensors that do not fit the network.
std::vector<Case> other_networks(const fs::path& good) {
  const Args bare{"evaluate", "bad.safetensors", "--model", "tiny.json"};
  const Args start{"trainer", "tiny.json", "--init-from", "bad.safetensors", "--out", "none", "--progress", "none"};
  const auto respec = [](const std::string& name, const Spec& spec) {
    return [=](Parts& parts) { parts.at(name).spec = spec; };
  };
  return {
      changed(good, bare, 3, "bad.safetensors: weights of another network: missing fc.bias",
              [](Parts& p) { p.entries.erase(p.entries.begin() + (&p.at("fc.bias") - p.entries.data())); }),
      changed(good, bare, 3, "missing bn1.num_batches_tracked",
              [](Parts& p) { p.entries.erase(p.entries.begin() + (&p.at("bn1.num_batches_tracked") - p.entries.data())); }),
      changed(good, bare, 3, "missing fc.weight; unexpected module.fc.weight",
              [](Parts& p) { rename(p, "fc.weight", "module.fc.weight"); }),
      changed(good, bare, 3, "tensor 'fc.weight' is f32[16, 10], the network wants f32[10, 16]",
              respec("fc.weight", {DType::f32, {16, 10}})),
      changed(good, bare, 3, "tensor 'conv1.weight' is f32[8, 3, 3, 3, 1], the network wants f32[8, 3, 3, 3]",
              respec("conv1.weight", {DType::f32, {8, 3, 3, 3, 1}})),
      changed(good, bare, 3, "tensor 'fc.bias' is i32[10], the network wants f32[10]",
              respec("fc.bias", {DType::i32, {10}})),
      changed(good, bare, 3, "tensor 'bn2.num_batches_tracked' is f64[], the network wants i64[]",
              respec("bn2.num_batches_tracked", {DType::f64, {}})),
      changed(good, start, 3, "bad.safetensors: weights of another network: missing conv2.bias; unexpected conv3.bias",
              [](Parts& p) { rename(p, "conv2.bias", "conv3.bias"); }),
      changed(good, start, 3, "tensor 'conv2.weight' is f32[16, 8, 9], the network wants f32[16, 8, 3, 3]",
              respec("conv2.weight", {DType::f32, {16, 8, 9}})),
      {{"trainer", "tiny.json", "--init-from", "absent.safetensors", "--out", "none", "--progress", "none"},
       3,
       "absent.safetensors: cannot open: No such file or directory"},
      {{"trainer", "tiny.json", "--init-from", "data", "--out", "none", "--progress", "none"},
       3,
       "data: is not a regular file"},
  };
}

/// Metadata that is no checkpoint's.
std::vector<Case> torn_metadata(const fs::path& good) {
  const Args plain{"evaluate", "bad.safetensors"};
  const auto set = [](const std::string& key, const std::string& value) {
    return [=](Parts& parts) { parts.metadata[key] = value; };
  };
  const auto drop = [](const std::string& key) { return [=](Parts& parts) { parts.metadata.erase(key); }; };
  return {
      changed(good, plain, 2, "bad.safetensors: bare weights say nothing of their network", drop("tern.format")),
      changed(good, {"evaluate", "bad.safetensors", "--model", "letnet"}, 2, "--model letnet:1: model.name: got \"letnet\"",
              drop("tern.format")),
      changed(good, {"evaluate", "bad.safetensors", "--model", "a\xff"}, 2, "model.name: got \"a\xef\xbf\xbd\"", drop("tern.format")),
      changed(good, {"evaluate", "bad.safetensors", "--model", "absent.json"}, 2, "absent.json", drop("tern.format")),
      changed(good, plain, 3, "checkpoint format '99x' is no number", set("tern.format", "99x")),
      changed(good, plain, 3, "checkpoint format 'new' is no number", set("tern.format", "new")),
      changed(good, plain, 3, "checkpoint format '0' is no number from 1", set("tern.format", "0")),
      changed(good, plain, 3, "checkpoint format 99 is newer than 1", set("tern.format", "99")),
      changed(good, plain, 3, "its metadata has no 'tern.run'", drop("tern.run")),
      changed(good, plain, 3, "its metadata has no 'tern.data'", drop("tern.data")),
      changed(good, plain, 3, "its metadata has no 'tern.position'", drop("tern.position")),
      changed(good, plain, 3, "damaged metadata: tern.run: bad.safetensors (tern.run):1:2: not valid JSON", set("tern.run", "{")),
      changed(good, plain, 3, "(tern.run):1: train.lanes: got 0", set("tern.run", R"({"train":{"lanes":0}})")),
      changed(good, plain, 3, "damaged metadata: tern.data: ", set("tern.data", "[]")),
      changed(good, plain, 3, "damaged metadata: tern.data: [data] no data set \"mnist\"", set("tern.data", R"({"name":"mnist","classes":[],"shape":[32,32,3]})")),
      changed(good, plain, 3, "damaged metadata: tern.position: ", set("tern.position", "{}")),
      changed(good, plain, 3, "tern.position: epoch is -1, wanted a count",
              [](Parts& parts) {
                auto position = nlohmann::json::parse(parts.metadata["tern.position"]);
                position["epoch"] = -1;
                parts.metadata["tern.position"] = position.dump();
              }),
  };
}

}  // namespace

std::vector<Case> malformed_weights() {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "has 0 bytes, a safetensors file at least 8"},
      {"1234567", "has 7 bytes, a safetensors file at least 8"},
      {claims(100'000'001), "header of 100000001 bytes is too long, at most 100000000 are allowed"},
      {claims(~uint64_t{0}), "header of 18446744073709551615 bytes is too long"},
      {claims(3), "header of 3 bytes goes past the end of the file (10 bytes)"},
      {claims(100'000'000), "header of 100000000 bytes goes past the end"},
      {"this is no file of tensors at all", "header of 2338328219631577204 bytes is too long"},
      {file_of(""), "header is empty, wanted a JSON object"},
      {file_of("[]"), "header starts with '[', wanted '{'"},
      {file_of(" {}"), "header starts with ' ', wanted '{'"},
      {file_of("{\"\xff\":1}"), "header is not UTF-8 at byte 10"},
      {file_of("{\"ab\xed\xa0\x80\":1}"), "header is not UTF-8 at byte 12"},  // a surrogate
      {file_of("{"), "header is not JSON at byte 9"},
      {file_of("{}  {}"), "header is not JSON at byte 12"},
      {file_of("{" + entry("a", "[0,4]") + "," + entry("a", "[0,4]") + "}", 4), "header has the key 'a' twice"},
      {file_of(R"({"a":{"dtype":"F32","dtype":"F32"}})"), "tensor 'a': has the key 'dtype' twice"},
      {file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), "__metadata__: has the key 'k' twice"},
      {file_of(R"({"__metadata__":{"k":1}})"), "__metadata__: the value of 'k' is 1, wanted a string"},
      {file_of(R"({"__metadata__":{"k":{}}})"), "__metadata__: the value of 'k' is an object, wanted a string"},
      {file_of(R"({"__metadata__":[]})"), "__metadata__: is an array, wanted an object"},
      {file_of(R"({"__metadata__":{"crc32c.a":"xyz"}})"), "__metadata__: the value of 'crc32c.a' is 'xyz', wanted 8 hexadecimal"},
      {file_of(R"({"__metadata__":{"crc32c.a":"00000000"}})"), "__metadata__: checksum of tensor 'a', which is not in the file"},
      {file_of(R"({"__metadata__":{"crc32c.a":"00000000"},)" + entry("a", "[0,4]") + "}", 4), "weights of another"},
      {file_of(R"({"a":5})"), "tensor 'a': is 5, wanted an object"},
      {file_of(R"({"a":{"dtype":"F32","shape":[]}})"), "tensor 'a': data_offsets is missing"},
      {file_of(R"({"a":{"dtype":"F32","shape":[],"size":4}})"), "tensor 'a': unknown key 'size'"},
      {two("[0,4]", "[3,7]", 7), "tensor 'b': starts at byte 3 of the data and overlaps 'a', which ends at 4"},
      {two("[0,4]", "[0,4]", 4), "tensor 'b': starts at byte 0 of the data and overlaps 'a', which ends at 4"},
      {two("[0,4]", "[6,10]", 10), "tensor 'b': starts at byte 6 of the data and leaves a hole after 'a'"},
      {one("F32", "[1]", "[2,6]", 6), "tensor 'a': starts at byte 2 of the data though it is the first, wanted 0"},
      {one("F32", "[1]", "[4,0]"), "tensor 'a': data_offsets [4, 0] end before they begin"},
      {one("F32", "[1]", "[0,-4]"), "tensor 'a': data_offsets holds -4, wanted whole numbers from 0"},
      {one("F32", "[1]", "[0]"), "tensor 'a': data_offsets has 1 numbers, wanted 2"},
      {one("F32", "[1]", "[0,4]", 3), "tensor 'a': ends at byte 4 of the data, which has 3"},
      {one("F32", "[1]", "[0,4]", 9), "5 bytes follow the last tensor"},
      {one("F32", "[2]", "[0,4]"), "tensor 'a': data_offsets [0, 4] hold 4 bytes, but f32[2] takes 8"},
      {one("F16", "[4]", "[0,4]"), "tensor 'a': data_offsets [0, 4] hold 4 bytes, but f16[4] takes 8"},
      {one("F32", "[0]", "[0,4]"), "tensor 'a': data_offsets [0, 4] hold 4 bytes, but f32[0] takes 0"},
      {one("U8", "[4294967296,4294967296]", "[0,4]"), "tensor 'a': shape [4294967296, 4294967296] has more than 2^62"},
      {one("F64", "[4611686018427387904]", "[0,0]", 0), "tensor 'a': f64[4611686018427387904] has more than 2^64 bytes"},
      {one("F32", "[9223372036854775808]", "[0,4]"), "tensor 'a': shape has an extent of 9223372036854775808"},
      {one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "tensor 'a': shape has more than 8 axes"},
      {one("F32", "[-1]", "[0,4]"), "tensor 'a': shape holds -1, wanted whole numbers from 0"},
      {one("F32", "[1.0]", "[0,4]"), "tensor 'a': shape holds 1.0, wanted whole numbers from 0"},
      {one("F31", "[1]", "[0,4]"), "tensor 'a': unknown dtype 'F31', wanted one of F64 F32"},
      {one("BOOL", "[4]", "[0,4]"), "tensor 'a': dtype BOOL is not supported by tern, wanted one of F64"},
  };
  std::vector<Case> cases;
  for (const auto& [bytes, says] : table) cases.push_back(weights_case(bytes, says));
  return cases;
}

std::vector<Case> malformed_checkpoints(const fs::path& good) {
  const std::string bytes = read_file(good);
  std::string flipped = bytes;
  flipped[SafetensorsFile::open(good).at("conv1.weight").offset] ^= 0x55;
  std::vector<Case> cases = {
      {{"evaluate", "nowhere"}, 3, "nowhere: no such checkpoint"},
      {{"evaluate", std::string(300, 'n')}, 3, "no such checkpoint (File name too long)"},
      {{"evaluate", "data"}, 3, "data: holds no best.safetensors or last.safetensors"},
      {{"evaluate", "run", "--data", "nowhere"}, 3, "no data in nowhere"},
      {{"evaluate", "run", "--data", "tiny.json"}, 3, "tiny.json is no directory"},
      {{"trainer", "tiny.json", "--out", "run", "--progress", "none"}, 2, "run: holds a run already"},
      weights_case(bytes.substr(0, bytes.size() - 9), "tensor 'optimizer."),
      weights_case(flipped, "tensor 'conv1.weight': bytes "),
  };
  for (const auto& group : {other_networks(good), torn_metadata(good)})
    for (const Case& c : group) cases.push_back(c);
  return cases;
}

}  // namespace tern::test
