// libFuzzer target: opens arbitrary bytes as CIFAR files and reads whatever was accepted.
//   byte 0: which data set, and which of its files the input stands for; bytes 1..2: size of that file; rest: repeated
//   to that size, so that short inputs reach whole records.
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/data_test_util.h"
#include "tools/data_cifar.h"

using namespace tern::data;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  static const testing::TemporaryDir temporary;
  const std::filesystem::path& folder = temporary.path();
  const CifarFormat& format = cifar_format(data[0] % 2 == 0 ? "cifar10" : "cifar100");
  const bool as_names = data[0] / 2 % 2 == 1;
  const size_t wanted = data[1] + size_t{256} * (data[2] % 64);
  std::string bytes(wanted, '\0');
  for (size_t i = 0; i < wanted; ++i) bytes[i] = static_cast<char>(data[3 + i % (size - 3)]);
  std::string names;
  for (int i = 0; i < format.classes; ++i) names += "n\n";
  testing::write_bytes(folder / format.test_files[0],
                       as_names ? std::string(static_cast<size_t>(format.record_bytes()), '\1') : bytes);
  testing::write_bytes(folder / format.names_file, as_names ? bytes : names);
  try {
    const DatasetPtr set = open_dataset(format.name, folder, Split::kTest);
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
