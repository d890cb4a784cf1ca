#include "kernels/max/max.h"

#include "kernels/common/extreme.h"

namespace tern {

Tensor max(const Tensor& x, const Reduction& options) { return reduce_extreme<true>(x, options); }

}  // namespace tern
