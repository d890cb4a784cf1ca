#include "kernels/min/min.h"

#include "kernels/common/extreme.h"

namespace tern {

Tensor min(const Tensor& x, const Reduction& options) { return reduce_extreme<false>(x, options); }

}  // namespace tern
