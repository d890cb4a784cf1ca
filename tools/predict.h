#pragma once
#include "tools/cli_predict.h"

namespace tern {

/// `trainer predict`: scales and normalises pictures as the checkpoint's training did, and prints each one's most
/// probable classes to stdout. A picture that cannot be read is named on stderr and the others are answered.
/// Throws DataError at the end where there was one, ConfigError and DataError as open_checkpoint() does.
void predict(const PredictArgs& args);

}  // namespace tern
