/// Any bytes are a config or a ConfigError; a config that parses prints to text that parses to the same text. What
/// stands before the first NUL is the file, each piece after it an argument of --set.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "tools/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::vector<std::string> pieces(1);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] == 0 && pieces.size() < 5) {
      pieces.emplace_back();
    } else {
      pieces.back() += static_cast<char>(bytes[i]);
    }
  }
  try {
    std::vector<tern::Override> overrides;
    for (size_t i = 1; i < pieces.size(); ++i) overrides.push_back(tern::parse_set(pieces[i]));
    const tern::Config config = tern::parse_config(pieces[0], "fuzz", overrides);
    const std::string printed = tern::config_json(config);
    const tern::Config again = tern::parse_config(printed, "printed");
    if (tern::config_json(again) != printed || tern::defining_json(again) != tern::defining_json(config)) std::abort();
  } catch (const tern::ConfigError&) {
  }
  return 0;
}
