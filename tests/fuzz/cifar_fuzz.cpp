// libFuzzer target: opens arbitrary bytes as CIFAR files and reads whatever was accepted.
//   byte 0: which data set, and which of its files the input stands for; bytes 1..2: size of that file; rest: repeated
//   to that size, so that short inputs reach whole records.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "tools/data_cifar.h"

namespace {

namespace fs = std::filesystem;
using namespace tern::data;

const fs::path& directory() {
  static const fs::path path = [] {
    std::string pattern = (fs::temp_directory_path() / "tern-fuzz-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    std::atexit([] {
      std::error_code ignored;
      fs::remove_all(directory(), ignored);
    });
    return fs::path(pattern);
  }();
  return path;
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const CifarFormat& format = cifar_format(data[0] % 2 == 0 ? "cifar10" : "cifar100");
  const bool as_names = data[0] / 2 % 2 == 1;
  const size_t wanted = data[1] + size_t{256} * (data[2] % 64);
  std::string bytes(wanted, '\0');
  for (size_t i = 0; i < wanted; ++i) bytes[i] = static_cast<char>(data[3 + i % (size - 3)]);
  std::string names;
  for (int i = 0; i < format.classes; ++i) names += "n\n";
  write(directory() / format.test_files[0],
        as_names ? std::string(static_cast<size_t>(format.record_bytes()), '\1') : bytes);
  write(directory() / format.names_file, as_names ? bytes : names);
  try {
    const DatasetPtr set = open_dataset(format.name, directory(), Split::kTest);
    if (set->size() < 1 || set->classes().size() != static_cast<size_t>(format.classes)) std::abort();
    std::vector<uint8_t> picture(static_cast<size_t>(set->shape().bytes()));
    for (int64_t i = 0; i < set->size(); ++i) {
      if (set->label(i) < 0 || set->label(i) >= format.classes) std::abort();
      set->read(i, picture);
    }
  } catch (const tern::DataError& error) {
    if (*error.what() == '\0') std::abort();
  }
  return 0;
}
