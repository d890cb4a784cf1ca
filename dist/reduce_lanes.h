#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/context.h"
#include "core/tensor.h"
#include "dist/group.h"
#include "dist/lane_tree.h"

namespace tern::dist {

/// Sums the gradients of a step's lanes over the ranks of a group, in the canonical tree: an all-to-all of slices of
/// the arena, each rank's sum of its slice over all lanes, an all-gather of the sums. Where each rank has one node of
/// the tree this moves the bytes of a ring all-reduce, 2 (R-1)/R of the arena a rank; unlike there the order of the
/// additions is the tree's, so the bits do not depend on the number of ranks.
class LaneReducer {
 public:
  /// `parameters`: floats in the arena. Tensors are the context's. A GPU's go through the host's memory where the group
  /// cannot take them.
  LaneReducer(Group& group, Context& context, int64_t parameters);

  /// `shares`: which of the step's `lanes` each rank has computed, in order, together all of them. `mine`: f32 [P], one
  /// for each of canonical_nodes() of this rank's share; they serve as scratch. `sum`, f32 [P], is none of them.
  void reduce(int lanes, std::span<const LaneRange> shares, std::span<const Tensor> mine, const Tensor& sum);

 private:
  int64_t begin_of(int rank) const;  // of a rank's slice; of rank size(): the arena's length
  /// Elements [begin, begin + length) of a flat tensor.
  Tensor part(const Tensor& flat, int64_t begin, int64_t length) const;
  std::span<std::byte> bytes_of(const Tensor& tensor) const;
  std::vector<Tensor> exchange_slices(std::span<const std::vector<LaneRange>> nodes, std::span<const Tensor> mine);
  void reserve_foreign(int64_t floats);
  void exchange_sums(const Tensor& sum);
  void reduce_staged(int lanes, std::span<const LaneRange> shares, std::span<const Tensor> mine, const Tensor& sum);

  Group& group_;
  Context& context_;
  int64_t parameters_;
  Memory memory_;
  Tensor foreign_;  // f32: this rank's slice of the others' nodes, one after another
  // For a GPU whose memory the group cannot take: the same on the host.
  std::unique_ptr<Context> host_;
  std::unique_ptr<LaneReducer> on_host_;
  std::vector<Tensor> host_mine_;
  Tensor host_sum_;
};

}  // namespace tern::dist
