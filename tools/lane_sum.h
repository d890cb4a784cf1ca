#pragma once
#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace tern {

/// Adds the gradients of lanes as they come, lane 0 first, in the canonical tree (core/lanes.h) with log2(lanes) + 1
/// buffers: equal subtrees merge as soon as both are there, what is left merges from the right.
class LaneSum {
 public:
  /// `result` f32 [P] receives the sum and serves as the first buffer.
  explicit LaneSum(Tensor result) { buffers_.push_back(std::move(result)); }

  void begin() { lanes_ = depth_ = 0; }
  void add(const Tensor& lane);
  /// Leaves the sum of the lanes added since begin() in `result`.
  void finish();

 private:
  void merge();

  std::vector<Tensor> buffers_;
  int64_t lanes_ = 0;
  size_t depth_ = 0;  // buffers in use: complete subtrees, largest first
};

}  // namespace tern
