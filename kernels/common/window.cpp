#include "kernels/common/window.h"

#include "core/error.h"

namespace tern {

Window make_window(std::string_view op, int64_t kernel, int64_t stride, int64_t padding, const Shape& x) {
  const std::string where = "[" + std::string(op) + "] ";
  if (kernel < 1 || stride < 0)
    throw ConfigError(where + "kernel " + std::to_string(kernel) + ", stride " + std::to_string(stride) +
                      ": wants 1 or more");
  if (padding < 0 || 2 * padding > kernel)
    throw ConfigError(where + "padding " + std::to_string(padding) + " wants 0 to half of the kernel " +
                      std::to_string(kernel));
  if (x.rank() != 4) throw ShapeError(where + "x is " + x.str() + ", wants [N,H,W,C]");
  if (x.numel() == 0) throw ShapeError(where + "x " + x.str() + " is empty");
  if (x[1] + 2 * padding < kernel || x[2] + 2 * padding < kernel)
    throw ShapeError(where + "x " + x.str() + " with padding " + std::to_string(padding) +
                     " is smaller than the kernel " + std::to_string(kernel));
  if (stride == 0) stride = kernel;
  const int64_t p = (x[1] + 2 * padding - kernel) / stride + 1;
  const int64_t q = (x[2] + 2 * padding - kernel) / stride + 1;
  return {kernel, stride, padding, x[0], x[1], x[2], x[3], p, q};
}

}  // namespace tern
