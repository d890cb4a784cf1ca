// Rows of convolution: its three passes, each against naive loops.
#include <tuple>

#include "tests/naive_conv.h"

namespace tern::testing {
namespace {

/// One convolution: x [N,H,W,C], and K filters of R, S.
struct Sizes {
  Shape x;
  int64_t k, r, s;
  Shape w(const Conv2d& o) const { return {k, r, s, x[3] / o.groups}; }
};

/// A row of the forward pass and one of each backward pass as an op of its own.
void add_rows(std::vector<OpCase>& rows, const std::string& variant, const Conv2d& o, const std::vector<Sizes>& sizes,
              bool has_bias = false, int64_t lane_size = 0) {
  OpCase y;
  y.op = "conv2d";
  y.variant = variant;
  y.lane_size = lane_size;
  y.second_gradient = true;
  for (const Sizes& z : sizes) {
    y.inputs.push_back({{.shape = z.x}, {.shape = z.w(o)}});
    if (has_bias) y.inputs.back().push_back({.shape = {z.k}});
  }
  y.run = [o, has_bias](std::span<const Tensor> in) {
    return std::vector{has_bias ? conv2d(in[0], in[1], in[2], o) : conv2d(in[0], in[1], o)};
  };
  y.reference = [o, has_bias](std::span<const Array> in) {
    return std::vector{naive_conv2d(in[0], in[1], has_bias ? &in[2] : nullptr, o)};
  };
  rows.push_back(y);

  // Several pictures give one dy: every size has its own rows of the backward passes.
  for (size_t i = 0; i < sizes.size(); ++i) {
    const Shape x = sizes[i].x, w = sizes[i].w(o), out = naive_conv_shape(x, w, o);
    const std::string name = variant + (sizes.size() > 1 ? "_" + std::to_string(i) : "");
    OpCase dx = y;
    dx.op = "conv2d_dgrad";
    dx.variant = name;
    dx.inputs = {{{.shape = out}, {.shape = w}}};
    dx.nan_passes = o.padding.h < w[1] && o.padding.w < w[2];  // else a pixel of dy may see padding alone
    dx.fixed_shapes = x.numel() == 1;  // of all extents the filter's alone could change, and do not fit then
    dx.run = [o, x](std::span<const Tensor> in) { return std::vector{conv2d_dgrad(in[0], in[1], {x[1], x[2]}, o)}; };
    dx.reference = [o, x](std::span<const Array> in) { return std::vector{naive_conv2d_dgrad(in[0], in[1], x, o)}; };
    rows.push_back(dx);
    OpCase dw = y;
    dw.op = "conv2d_wgrad";
    dw.variant = name;
    dw.inputs = {{{.shape = x}, {.shape = out}}};
    dw.run = [o, w](std::span<const Tensor> in) { return std::vector{conv2d_wgrad(in[0], in[1], {w[1], w[2]}, o)}; };
    dw.reference = [o, w](std::span<const Array> in) { return std::vector{naive_conv2d_wgrad(in[0], in[1], w, o)}; };
    rows.push_back(dw);
  }
}

/// A 3x3 layer that keeps the picture's size, for timing: a small picture is checked, a step's batch is timed.
void add_layer(std::vector<OpCase>& rows, const std::string& variant, int64_t size, int64_t in, int64_t out) {
  const Conv2d o{.padding = 1};
  OpCase c;
  c.variant = variant;
  c.half = c.gradient = false;  // the rows above have these
  c.lane_size = 2;
  c.bench_lane_size = 32;
  const auto pass = [&](const char* op, const auto& inputs, const auto& run, const auto& reference) {
    c.op = op;
    c.inputs = {inputs(Shape{3, 5, 6})};
    c.bench = inputs(Shape{128, size, size});
    c.bench_flops = 2.0 * 128 * static_cast<double>(size * size * in * out * 9);
    c.run = run;
    c.reference = reference;
    rows.push_back(c);
  };
  const auto pictures = [](const Shape& s, int64_t channels) { return Input{.shape = {s[0], s[1], s[2], channels}}; };
  const auto like = [](const auto& t, int64_t channels) { return t.shape.with(3, channels); };
  const Input w{.shape = {out, 3, 3, in}};
  pass("conv2d", [=](const Shape& s) { return std::vector{pictures(s, in), w}; },
       [=](std::span<const Tensor> t) { return std::vector{conv2d(t[0], t[1], o)}; },
       [=](std::span<const Array> t) { return std::vector{naive_conv2d(t[0], t[1], nullptr, o)}; });
  pass("conv2d_dgrad", [=](const Shape& s) { return std::vector{pictures(s, out), w}; },
       [=](std::span<const Tensor> t) { return std::vector{conv2d_dgrad(t[0], t[1], {t[0].size(1), t[0].size(2)}, o)}; },
       [=](std::span<const Array> t) { return std::vector{naive_conv2d_dgrad(t[0], t[1], like(t[0], in), o)}; });
  pass("conv2d_wgrad", [=](const Shape& s) { return std::vector{pictures(s, in), pictures(s, out)}; },
       [=](std::span<const Tensor> t) { return std::vector{conv2d_wgrad(t[0], t[1], {3, 3}, o)}; },
       [=](std::span<const Array> t) { return std::vector{naive_conv2d_wgrad(t[0], t[1], w.shape, o)}; });
}

}  // namespace

std::vector<OpCase> conv_cases() {
  std::vector<OpCase> rows;
  add_rows(rows, "3x3", {.padding = 1},
           {{{2, 8, 8, 5}, 7, 3, 3}, {{1, 1, 1, 1}, 1, 3, 3}, {{3, 17, 3, 3}, 33, 3, 3}, {{1, 3, 31, 17}, 16, 3, 3}},
           true);
  // Winograd's: one side odd, both; a border that the filter loses, one that it gains.
  add_rows(rows, "winograd", {.padding = 1}, {{{2, 5, 7, 17}, 18, 3, 3}, {{3, 4, 8, 16}, 33, 3, 3}}, true, 2);
  add_rows(rows, "winograd_valid", {}, {{{1, 7, 7, 16}, 31, 3, 3}});
  add_rows(rows, "winograd_wide", {.padding = 2}, {{{2, 6, 5, 16}, 16, 3, 3}}, true);
  // Few result channels, in either direction, beside one and several vectors of pixels.
  add_rows(rows, "narrow", {.padding = 2}, {{{3, 9, 19, 3}, 6, 5, 5}, {{2, 5, 33, 8}, 1, 3, 3}, {{1, 12, 8, 7}, 17, 2, 4}}, true, 2);
  add_rows(rows, "narrow_valid", {}, {{{2, 6, 20, 4}, 8, 3, 5}});
  add_rows(rows, "narrow_deep", {.padding = 1}, {{{1, 4, 5, 3}, 97, 3, 3}});
  add_rows(rows, "valid", {}, {{{2, 5, 9, 4}, 6, 3, 2}, {{1, 6, 5, 3}, 17, 5, 5}});
  add_rows(rows, "5x5", {.padding = 2}, {{{2, 7, 6, 3}, 31, 5, 5}}, true);
  add_rows(rows, "1x1", {}, {{{3, 3, 5, 17}, 9, 1, 1}}, true);
  add_rows(rows, "1x1_stride2", {.stride = 2}, {{{2, 5, 4, 6}, 5, 1, 1}});
  add_rows(rows, "stride2", {.stride = 2, .padding = 1}, {{{2, 9, 6, 5}, 34, 3, 3}, {{1, 7, 2, 3}, 3, 4, 2}}, true);
  add_rows(rows, "stride3x2", {.stride = {3, 2}, .padding = {0, 2}}, {{{2, 10, 7, 3}, 4, 2, 3}});
  add_rows(rows, "padding", {.padding = {2, 0}}, {{{2, 4, 6, 3}, 5, 2, 3}});
  add_rows(rows, "wide_padding", {.padding = 3}, {{{1, 2, 3, 2}, 3, 2, 2}});
  add_rows(rows, "dilation", {.padding = {2, 1}, .dilation = {2, 3}}, {{{2, 7, 9, 3}, 5, 3, 2}});
  add_rows(rows, "stride2_dilation", {.stride = {2, 3}, .padding = 2, .dilation = {2, 2}}, {{{2, 9, 11, 3}, 5, 3, 3}});
  add_rows(rows, "groups", {.padding = 1, .groups = 2}, {{{2, 4, 5, 6}, 8, 3, 3}}, true);
  add_rows(rows, "groups_stride2", {.stride = 2, .padding = 1, .groups = 3}, {{{2, 5, 4, 6}, 9, 3, 3}});
  add_rows(rows, "depthwise", {.padding = 1, .groups = 5}, {{{2, 4, 3, 5}, 10, 3, 3}});
  add_rows(rows, "lanes", {.padding = 1}, {{{7, 3, 5, 4}, 18, 3, 3}}, true, 2);
  // The layers of cifar-cnn, 4 lanes of 32 pictures.
  const std::tuple<int64_t, int64_t, int64_t> layers[] = {{32, 3, 32},  {32, 32, 32}, {16, 32, 64},
                                                          {16, 64, 64}, {8, 64, 128}, {8, 128, 128}};
  for (int i = 0; const auto& [size, in, out] : layers) add_layer(rows, "cifar_conv" + std::to_string(++i), size, in, out);
  return rows;
}

}  // namespace tern::testing
