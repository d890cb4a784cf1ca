#pragma once
#include "tools/config.h"

namespace tern {

struct StrictJson;

/// What no single field can tell: keys that need, forbid or contradict each other. Throws ConfigError at the place in
/// `document` that the value came from.
void check_config(const Config& config, const StrictJson& document);

}  // namespace tern
