#pragma once
#include "core/tensor.h"

namespace tern {

/// 1 where fewer than k other logits of the row are larger than the label's, or as large and before it; else 0. A label
/// whose logit is NaN, or that is no class, is never right.
///   logits [N,C]  labels i64 [N]  ->  u8 [N]. Not differentiable. Throws ConfigError for k below 1.
Tensor top_k_correct(const Tensor& logits, const Tensor& labels, int64_t k);

}  // namespace tern
