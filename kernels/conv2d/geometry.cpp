#include "kernels/conv2d/geometry.h"

#include <string>

#include "core/error.h"
#include "core/op.h"

namespace tern {
namespace {

void check_option(std::string_view op, const char* name, int64_t value, int64_t least) {
  if (value < least)
    throw ConfigError("[" + std::string(op) + "] " + name + "=" + std::to_string(value) + ", wants at least " +
                      std::to_string(least));
}

void check_options(std::string_view op, const Conv2d& o) {
  check_option(op, "stride.h", o.stride.h, 1);
  check_option(op, "stride.w", o.stride.w, 1);
  check_option(op, "padding.h", o.padding.h, 0);
  check_option(op, "padding.w", o.padding.w, 0);
  check_option(op, "dilation.h", o.dilation.h, 1);
  check_option(op, "dilation.w", o.dilation.w, 1);
  check_option(op, "groups", o.groups, 1);
}

void check_operand(std::string_view op, const char* name, const char* axes, const Shape& shape) {
  if (shape.rank() != 4) throw_shape(op, std::string(name) + " is " + shape.str() + ", wants " + axes);
  if (shape.numel() == 0) throw_shape(op, std::string(name) + " is " + shape.str() + ": an extent is 0");
}

int64_t output_extent(std::string_view op, const char* axis, int64_t input, int64_t filter, int64_t stride,
                      int64_t padding, int64_t dilation) {
  const int64_t reach = dilation * (filter - 1) + 1;
  if (input + 2 * padding < reach)
    throw_shape(op, "the filter covers " + std::to_string(reach) + " pixels of " + axis + " but x has " +
                        std::to_string(input) + " and padding " + std::to_string(padding) + " on each side");
  return (input + 2 * padding - reach) / stride + 1;
}

}  // namespace

ConvShape conv_shape(std::string_view op, const Shape& x, const Shape& w, const Conv2d& o) {
  check_options(op, o);
  check_operand(op, "x", "[N,H,W,C]", x);
  check_operand(op, "w", "[K,R,S,C/groups]", w);
  ConvShape shape{.n = x[0], .h = x[1], .w = x[2], .c = x[3], .k = w[0], .r = w[1], .s = w[2], .options = o};
  if (o.groups == 1 && w[3] != x[3])
    throw_shape(op, "w has C=" + std::to_string(w[3]) + " but x has C=" + std::to_string(x[3]));
  if (w[3] * o.groups != x[3])
    throw_shape(op, "w has C=" + std::to_string(w[3]) + " in each of " + std::to_string(o.groups) +
                        " groups but x has C=" + std::to_string(x[3]));
  if (w[0] % o.groups != 0)
    throw_shape(op, "w has K=" + std::to_string(w[0]) + ", wants a multiple of groups=" + std::to_string(o.groups));
  shape.p = output_extent(op, "H", shape.h, shape.r, o.stride.h, o.padding.h, o.dilation.h);
  shape.q = output_extent(op, "W", shape.w, shape.s, o.stride.w, o.padding.w, o.dilation.w);
  return shape;
}

}  // namespace tern
