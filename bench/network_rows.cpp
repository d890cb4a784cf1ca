#include "bench/network_rows.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "kernels/conv2d/conv2d.h"

namespace tern::bench {
namespace {

using testing::Array;
using testing::Input;
using testing::OpCase;
using Tensors = std::span<const Tensor>;
using Arrays = std::span<const Array>;

constexpr int64_t kClasses = 10;

const OpCase& op_row(const std::string& name) {
  const auto& rows = testing::op_cases();
  const auto found = std::ranges::find(rows, name, [](const OpCase& row) { return name_of(row); });
  if (found == rows.end()) throw Error("[bench] the op table has no row " + name);
  return *found;
}

/// One convolution of a network.
struct Conv {
  Shape x, w, y;
  Conv2d options;

  double flops() const { return 2.0 * static_cast<double>(y.numel()) * static_cast<double>(w.numel() / w[0]); }
  int64_t x_at(int64_t n, int64_t i, int64_t j, int64_t c) const { return ((n * x[1] + i) * x[2] + j) * x[3] + c; }
  int64_t y_at(int64_t n, int64_t p, int64_t q, int64_t k) const { return ((n * y[1] + p) * y[2] + q) * y[3] + k; }
  int64_t w_at(int64_t k, int64_t r, int64_t s, int64_t c) const { return ((k * w[1] + r) * w[2] + s) * w[3] + c; }
  int64_t x_row(int64_t p, int64_t r) const { return p * options.stride.h - options.padding.h + r; }
  int64_t x_col(int64_t q, int64_t s) const { return q * options.stride.w - options.padding.w + s; }

  double forward_at(Arrays in, int64_t at) const {
    const int64_t k = at % y[3], q = at / y[3] % y[2], p = at / y[3] / y[2] % y[1], n = at / y[3] / y[2] / y[1];
    double sum = in.size() > 2 ? in[2][k] : 0;
    for (int64_t r = 0; r < w[1]; ++r)
      for (int64_t s = 0; s < w[2]; ++s) {
        const int64_t i = x_row(p, r), j = x_col(q, s);
        if (i < 0 || i >= x[1] || j < 0 || j >= x[2]) continue;
        for (int64_t c = 0; c < x[3]; ++c) sum += in[0][x_at(n, i, j, c)] * in[1][w_at(k, r, s, c)];
      }
    return sum;
  }

  double dgrad_at(Arrays in, int64_t at) const {
    const int64_t c = at % x[3], j = at / x[3] % x[2], i = at / x[3] / x[2] % x[1], n = at / x[3] / x[2] / x[1];
    double sum = 0;
    for (int64_t r = 0; r < w[1]; ++r)
      for (int64_t s = 0; s < w[2]; ++s) {
        const int64_t p = (i + options.padding.h - r) / options.stride.h, q = (j + options.padding.w - s) / options.stride.w;
        if (x_row(p, r) != i || x_col(q, s) != j || p < 0 || p >= y[1] || q < 0 || q >= y[2]) continue;
        for (int64_t k = 0; k < y[3]; ++k) sum += in[0][y_at(n, p, q, k)] * in[1][w_at(k, r, s, c)];
      }
    return sum;
  }

  double wgrad_at(Arrays in, int64_t at) const {
    const int64_t c = at % w[3], s = at / w[3] % w[2], r = at / w[3] / w[2] % w[1], k = at / w[3] / w[2] / w[1];
    double sum = 0;
    for (int64_t n = 0; n < y[0]; ++n)
      for (int64_t p = 0; p < y[1]; ++p)
        for (int64_t q = 0; q < y[2]; ++q) {
          const int64_t i = x_row(p, r), j = x_col(q, s);
          if (i < 0 || i >= x[1] || j < 0 || j >= x[2]) continue;
          sum += in[0][x_at(n, i, j, c)] * in[1][y_at(n, p, q, k)];
        }
    return sum;
  }
};

/// Walks through a network's layers with the shape of what flows between them. Every layer fits: timed_networks() are ours.
class Walk {
 public:
  Walk(const Timed& network, int64_t batch)
      : network_(network.name), batch_(batch), lane_size_(batch > network.lane_size ? network.lane_size : 0), shape_{batch, 32, 32, 3} {
    layers(network.layers, "");
    const auto classified = [](const Shape& logits) {
      const Input labels{.shape = {logits[0]}, .low = 0, .high = static_cast<double>(logits[1]), .floating = false};
      return std::vector<Input>{{.shape = logits, .low = -3, .high = 3}, labels};
    };
    op("loss", "cross_entropy", classified);
    auto adamw = std::make_shared<OpCase>(op_row("adamw"));
    for (Input& input : adamw->bench)
      if (input.shape.numel() > 1) input.shape = {parameters_};
    add("adamw", "step", adamw, Pass::forward);
  }

  std::vector<Row> take() { return std::move(rows_); }

 private:
  using Inputs = std::function<std::vector<Input>(const Shape& x)>;

  void layers(const std::vector<nn::LayerSpec>& specs, const std::string& prefix) {
    for (const nn::LayerGroup& group : nn::group_layers(specs)) {
      const auto named = [&](const nn::LayerSpec& spec) { return prefix + (spec.name.empty() ? spec.type + std::to_string(++unnamed_[spec.type]) : spec.name); };
      if (group.norm) {
        norm(group, named(*group.norm));
      } else if (group.pools_first) {
        layer(group.specs[1], named(group.specs[1]));
        layer(group.specs[0], named(group.specs[0]));
      } else {
        layer(group.specs[0], named(group.specs[0]));
      }
    }
  }

  void norm(const nn::LayerGroup& group, const std::string& name) {
    const nn::LayerSpec &first = group.specs.front(), &last = group.specs.back();
    const bool pools = &first != group.norm;
    const int64_t channels = shape_[-1];
    parameters_ += 2 * channels;
    std::string row = pools ? "max_pool_batch_norm/lanes_" + square(first) : "batch_norm/lanes";
    if (&last != group.norm) row += "_" + last.type;
    op(name, row, [=](const Shape& x) {
      return std::vector<Input>{{.shape = x}, {.shape = {channels}, .low = 0.5, .high = 2}, {.shape = {channels}}};
    });
    if (pools) pool(first);
  }

  static std::string square(const nn::LayerSpec& pool) { return std::to_string(pool.kernel.h) + "x" + std::to_string(pool.kernel.h); }
  void pool(const nn::LayerSpec& spec) { shape_ = {batch_, shape_[1] / spec.kernel.h, shape_[2] / spec.kernel.h, shape_[3]}; }

  void layer(const nn::LayerSpec& spec, const std::string& name) {
    const auto only_x = [](const Shape& x) { return std::vector<Input>{{.shape = x}}; };
    if (spec.type == "conv2d") {
      conv(spec, name);
    } else if (spec.type == "max_pool") {
      op(name, "max_pool2d/" + square(spec), only_x);
      pool(spec);
    } else if (spec.type == "global_avg_pool") {
      op(name, spec.type, only_x);
      shape_ = {batch_, shape_[3]};
    } else if (spec.type == "flatten") {
      shape_ = {batch_, shape_.numel() / batch_};
    } else if (spec.type == "linear") {
      linear(spec, name);
    } else if (spec.type == "residual") {
      const Shape before = shape_;
      layers(spec.body, name + ".");
      const Shape after = std::exchange(shape_, before);
      layers(spec.shortcut, name + ".");
      shape_ = after;
    } else if (spec.type != "dropout" && spec.type != "scale") {
      op(name, spec.type, only_x);
    }
  }

  void linear(const nn::LayerSpec& spec, const std::string& name) {
    const int64_t in = shape_[1], out = spec.out;
    parameters_ += out * in + (spec.bias ? out : 0);
    const auto inputs = [=, bias = spec.bias](const Shape& x) {
      std::vector<Input> all{{.shape = x}, {.shape = {out, in}}};
      if (bias) all.push_back({.shape = {out}});
      return all;
    };
    op(name, spec.bias ? "linear/bias" : "linear", inputs, 2.0 * static_cast<double>(batch_ * out * in));
    shape_ = {batch_, out};
  }

  void conv(const nn::LayerSpec& spec, const std::string& name) {
    const Pair stride = spec.stride.value_or(1);
    Conv c;
    c.options = {.stride = stride, .padding = spec.padding};
    c.x = shape_;
    c.w = {spec.out, spec.kernel.h, spec.kernel.w, shape_[3]};
    c.y = {batch_, (shape_[1] + 2 * spec.padding.h - spec.kernel.h) / stride.h + 1,
           (shape_[2] + 2 * spec.padding.w - spec.kernel.w) / stride.w + 1, spec.out};
    const bool first = parameters_ == 0;
    parameters_ += c.w.numel() + (spec.bias ? spec.out : 0);
    shape_ = c.y;
    const auto pass = [&](const char* pass_name, const char* op, const std::vector<Input>& inputs, const auto& run, auto element) {
      auto row = std::make_shared<OpCase>();
      row->op = op;
      row->variant = c.w.str() + "/" + std::to_string(stride.h);  // what the inputs alone do not say
      row->run = run;
      row->bench = inputs;
      row->bench_flops = c.flops();
      row->bench_lane_size = lane_size_;
      add(name, pass_name, row, Pass::forward, [c, element](Arrays in, int64_t at) { return (c.*element)(in, at); });
    };
    std::vector<Input> xw{{.shape = c.x}, {.shape = c.w}};
    if (spec.bias) xw.push_back({.shape = {spec.out}});
    const auto forward = [o = c.options](Tensors t) {
      return std::vector{t.size() > 2 ? conv2d(t[0], t[1], t[2], o) : conv2d(t[0], t[1], o)};
    };
    pass("forward", "conv2d", xw, forward, &Conv::forward_at);
    const auto dgrad = [c](Tensors t) { return std::vector{conv2d_dgrad(t[0], t[1], {c.x[1], c.x[2]}, c.options)}; };
    if (!first) pass("dgrad", "conv2d_dgrad", {{.shape = c.y}, {.shape = c.w}}, dgrad, &Conv::dgrad_at);
    const auto wgrad = [c](Tensors t) { return std::vector{conv2d_wgrad(t[0], t[1], {c.w[1], c.w[2]}, c.options)}; };
    pass("wgrad", "conv2d_wgrad", {{.shape = c.x}, {.shape = c.y}}, wgrad, &Conv::wgrad_at);
  }

  /// A row of the op table on what `inputs` makes of the layer's x, both ways. Checked are a few pictures of at most 8x8 with
  /// all their channels: among many values some fall so close to a relu's zero that f32 and f64 take different sides.
  void op(const std::string& name, const std::string& row_name, const Inputs& inputs, double flops = 0) {
    auto row = std::make_shared<OpCase>(op_row(row_name));
    Shape few = shape_.with(0, std::min<int64_t>(batch_, 5));
    if (few.rank() == 4) few = few.with(1, std::min<int64_t>(few[1], 8)).with(2, std::min<int64_t>(few[2], 8));
    row->inputs = {inputs(few)};
    row->bench = inputs(shape_);
    row->bench_flops = flops;
    row->bench_lane_size = lane_size_;
    add(name, "forward", row, Pass::forward);
    add(name, "backward", row, Pass::backward);
  }

  void add(const std::string& name, const std::string& pass_name, const std::shared_ptr<const OpCase>& op, Pass pass,
           std::function<double(Arrays, int64_t)> element = {}) {
    std::string key = name_of(*op) + " " + pass_name;
    for (const Input& input : op->bench) key += " " + input.shape.str();
    const auto [seen, is_new] = seen_.try_emplace(key, rows_.size());
    if (!is_new) {
      ++rows_[seen->second].layers;
      return;
    }
    rows_.push_back({.name = network_ + "/" + name + "/" + pass_name, .group = network_ + " " + op->op, .op = op, .pass = pass,
                     .element = std::move(element), .layers = 1});
  }

  std::string network_;
  int64_t batch_, lane_size_;
  Shape shape_;
  int64_t parameters_ = 0;
  std::map<std::string, int> unnamed_;
  std::map<std::string, size_t> seen_;  // what a row times -> its place in rows_
  std::vector<Row> rows_;
};

}  // namespace

std::vector<Timed> timed_networks() {
  std::vector<Timed> networks;
  for (const char* name : {"cifar-cnn", "lenet", "resnet18", "airbench94"}) networks.push_back({.name = name, .layers = nn::network_preset(name)});
  networks[1].lane_size = kDefaultBatch;
  return networks;
}

std::vector<Row> network_rows(const Timed& network, int64_t batch) { return Walk(network, batch).take(); }

}  // namespace tern::bench
