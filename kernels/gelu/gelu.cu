#include "kernels/gelu/gelu.h"

#include "kernels/common/elementwise.cuh"
#include "kernels/common/formulas.h"

namespace tern::cuda {

void gelu(Launch& launch, const Gelu& options) {
  if (options.approximate == Gelu::tanh)
    map_unary(launch, "gelu", formula::GeluTanh{});
  else
    map_unary(launch, "gelu", formula::Gelu{});
}

void gelu_backward(Launch& launch, const Gelu& options) {
  if (options.approximate == Gelu::tanh)
    map_binary(launch, "gelu_backward", formula::GeluTanhBackward{});
  else
    map_binary(launch, "gelu_backward", formula::GeluBackward{});
}

}  // namespace tern::cuda
