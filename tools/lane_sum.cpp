#include "tools/lane_sum.h"

#include "core/basic_ops.h"

namespace tern {

void LaneSum::add(const Tensor& lane) {
  if (depth_ == buffers_.size()) {
    MemoryTag tag(lane.context(), "gradients");
    buffers_.push_back(Tensor::empty(lane.context(), lane.shape(), lane.dtype()));
  }
  buffers_[depth_++].copy_from(lane);
  // Lane i ends as many subtrees as i has trailing ones.
  for (int64_t i = lanes_++; i & 1; i >>= 1) merge();
}

void LaneSum::finish() {
  while (depth_ > 1) merge();
}

void LaneSum::merge() {
  --depth_;
  accumulate_into(buffers_[depth_ - 1], buffers_[depth_]);
}

}  // namespace tern
