#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/op.h"

/// What the optimizer kernels share. They update flat f32 arenas in place; everything that changes from step to step is
/// a tensor, so that a replayed plan sees new values:
///   lr          f64 [G]  a learning rate for each parameter group
///   grad_scale  f32 [1]  gradients are multiplied by it: clip_coefficient()'s result, or 1
///   found_inf   f32 [1]  not 0: the step is skipped, nothing changes; global_norm()'s flag, or 0
namespace tern {

/// A stretch of the arena with its parameter group's settings. What no segment covers is left alone.
struct UpdateSegment {
  int64_t begin = 0, end = 0;  ///< elements
  int group = 0;               ///< index into lr
  double weight_decay = 0;
};

/// Throws unless `weights`, the rounded copy of a master arena, is f16 or bf16 of the master's shape.
void check_flat_weights(std::string_view op, const Spec& weights, const Spec& master);

/// Rounds master[begin..end) into the same place of `weights`, f16 or bf16.
void round_flat_weights(const Tensor& weights, const float* master, int64_t begin, int64_t end);

/// Throws unless `arenas` are f32 [P] of one size, lr is f64 [G], scale and flag are f32 [1], and segments lie in both.
void check_flat_update(std::string_view op, std::span<const Spec> arenas, const Spec& lr, const Spec& grad_scale,
                       const Spec& found_inf, std::span<const UpdateSegment> segments);

}  // namespace tern
