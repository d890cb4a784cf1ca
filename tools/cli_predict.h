#pragma once
#include <string>
#include <vector>

#include "tools/config.h"

namespace tern {

/// `trainer predict CHECKPOINT IMAGE...`
struct PredictArgs {
  std::string checkpoint;
  std::vector<std::string> images;  ///< files, or directories for all pictures in them
  int top = 5;                      ///< classes shown a picture
  bool json = false;
  TtaName tta = TtaName::none;
  std::string model;      ///< preset or config file, for bare weights
  std::string device = "auto";
  int threads = 0;
};

}  // namespace tern
