#pragma once
#include "core/tensor.h"

namespace tern {

struct Dropout {
  double p = 0.5;      ///< share of elements set to zero, in [0, 1)
  uint32_t layer = 0;  ///< the layer's own number: layers of one network draw from separate streams
};

/// y = x / (1 - p) where an element is kept, else x * 0. Always on: evaluation leaves it out.
///   x [N, ..] -> y as x
/// The mask of row n depends on (seed, step) of context.rng_key(), on the sample that context.rng_samples() says the
/// row is (undefined: n itself), on the layer and on the element's place in the row: not on the batch, lane, thread or
/// dtype (D5). Key and samples are read when the op runs, so a replayed plan draws anew, and nothing is kept for the
/// gradient but the key. NaN is NaN even where it is dropped, as in PyTorch. Ref: Srivastava et al.: Dropout (2014).
/// Throws ConfigError for p outside [0, 1).
Tensor dropout(const Tensor& x, Dropout options = {});

}  // namespace tern
