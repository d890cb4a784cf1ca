// Any bytes are either refused with a DataError or give tensors that lie inside the file.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/crc32c.h"
#include "core/error.h"
#include "nn/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const tern::SafetensorsFile file = tern::SafetensorsFile::parse(bytes);
    for (const tern::TensorEntry& entry : file.entries()) {
      if (file.find(entry.name) != &entry) std::abort();
      try {
        static_cast<void>(tern::crc32c(file.bytes(entry)));  // touches every byte
      } catch (const tern::DataError&) {  // its checksum
      }
    }
  } catch (const tern::DataError&) {
  }
  return 0;
}
