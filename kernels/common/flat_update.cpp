#include "kernels/common/flat_update.h"

namespace tern {

void check_flat_update(std::string_view op, std::span<const Spec> arenas, const Spec& lr, const Spec& grad_scale,
                       const Spec& found_inf, std::span<const UpdateSegment> segments) {
  const Spec& first = arenas[0];
  for (const Spec& arena : arenas)
    if (arena.dtype != DType::f32 || arena.shape.rank() != 1 || arena != first)
      throw_shape(op, "got an arena " + arena.str() + ", wants f32 arenas of one size, the first is " + first.str());
  if (lr.dtype != DType::f64 || lr.shape.rank() != 1) throw_shape(op, "lr is " + lr.str() + ", wants f64[groups]");
  const Spec scalar{DType::f32, {1}};
  if (grad_scale != scalar) throw_shape(op, "grad_scale is " + grad_scale.str() + ", wants " + scalar.str());
  if (found_inf != scalar) throw_shape(op, "found_inf is " + found_inf.str() + ", wants " + scalar.str());
  for (const UpdateSegment& s : segments) {
    const std::string which = "segment " + std::to_string(s.begin) + ".." + std::to_string(s.end);
    if (s.begin < 0 || s.end < s.begin || s.end > first.numel()) throw_shape(op, which + " is outside " + first.str());
    if (s.group < 0 || s.group >= lr.numel())
      throw_shape(op, which + " is of group " + std::to_string(s.group) + " but lr is " + lr.str());
  }
}

void check_flat_weights(std::string_view op, const Spec& weights, const Spec& master) {
  if ((weights.dtype != DType::f16 && weights.dtype != DType::bf16) || weights.shape != master.shape)
    throw_shape(op, "weights are " + weights.str() + ", wants f16 or bf16 of master's shape " + master.shape.str());
}

void round_flat_weights(const Tensor& weights, const float* master, int64_t begin, int64_t end) {
  const auto round = [&](auto* to) {
    for (int64_t i = begin; i < end; ++i) to[i] = std::remove_pointer_t<decltype(to)>(master[i]);
  };
  weights.dtype() == DType::f16 ? round(weights.data<Half>()) : round(weights.data<BFloat16>());
}

}  // namespace tern
