#pragma once
#include "tools/cli.h"

namespace tern {

/// trainer summary, export, lr-find and doctor: their exit code. Throw as the training would.
int run_inspect(const InspectCommand& command);

}  // namespace tern
