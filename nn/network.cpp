#include "nn/network.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "core/error.h"
#include "kernels/ops.h"
#include "nn/batch_norm.h"

namespace tern::nn {
namespace {

Lambda::Function activation_of(const std::string& type) {
  if (type == "relu") return [](const Tensor& x) { return relu(x); };
  if (type == "gelu") return [](const Tensor& x) { return gelu(x); };
  if (type == "gelu_tanh") return [](const Tensor& x) { return gelu(x, {.approximate = Gelu::tanh}); };
  if (type == "silu") return [](const Tensor& x) { return silu(x); };
  if (type == "sigmoid") return [](const Tensor& x) { return sigmoid(x); };
  if (type == "tanh") return [](const Tensor& x) { return tanh(x); };
  return {};
}

MaxPool2d max_pool_options(const LayerSpec& layer) {
  return {.kernel = layer.kernel.h, .stride = layer.stride.value_or(layer.kernel).h, .padding = layer.padding.h};
}

BatchNormOptions norm_options(const LayerGroup& group) {
  BatchNormOptions options;
  options.eps = group.norm->eps.value_or(1e-5);
  options.momentum = group.norm->momentum;
  if (const LayerSpec& first = group.specs.front(); &first != group.norm) options.pool = max_pool_options(first);
  if (const std::string& last = group.specs.back().type; last == "relu" || last == "gelu") options.activation = last == "relu" ? Activation::relu : Activation::gelu;
  return options;
}

/// Most elements of one weight and of one picture's activations (4 GiB of f32): beyond it stands a slip of the pen, and
/// it is better refused by name than where the memory runs out.
constexpr int64_t kMostElements = int64_t{1} << 30;

/// Turns layer specs into modules, following the extents of what flows through.
class Builder {
 public:
  Builder(Context& context, InputShape input) : context_(context), shape_{1, input.height, input.width, input.channels} {}

  /// Of one picture behind the layers built so far.
  const Shape& shape() const { return shape_; }
  std::vector<LayerInfo> take_infos() { return std::move(infos_); }
  const Tensor* whitened() const { return whitened_; }
  /// What layers ask for in place of the network's scheme.
  void initialize_weights() const {
    for (const auto& [weight, initialize] : inits_) initialize(*weight);
  }

  std::unique_ptr<Sequential> build(const std::vector<LayerSpec>& layers, const std::string& prefix) {
    auto sequence = std::make_unique<Sequential>();
    for (const LayerGroup& group : group_layers(layers)) {
      std::vector<std::pair<std::string, std::unique_ptr<Module>>> modules;
      for (const LayerSpec& layer : group.specs) {
        if (group.norm && &layer > group.norm) {
          infos_.push_back({.name = prefix + (layer.name.empty() ? layer.type : layer.name), .type = layer.type, .depth = depth_, .fused = true,
                            .input = shape_, .output = shape_});
          continue;
        }
        std::string name = layer.name;
        if (name.empty()) name = layer.type + std::to_string(++unnamed_[layer.type]);
        at_ = "[model] layer '" + prefix + name + "' (" + layer.type + ")";
        auto module = described(layer, prefix + name, group);
        if (!group.norm || &layer == group.norm) modules.emplace_back(name, std::move(module));
      }
      if (group.pools_first) std::swap(modules[0], modules[1]);
      for (auto& [name, module] : modules) sequence->add(name, std::move(module));
    }
    return sequence;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw ConfigError(at_ + " " + what); }
  void want(bool holds, const std::string& what) const {
    if (!holds) fail(what);
  }
  void want_picture() const { want(shape_.rank() == 4, "wants a picture [N, H, W, C], gets " + shape_.str()); }

  /// A shape that this layer makes.
  Shape sized(const std::string& what, std::initializer_list<int64_t> extents) const {
    const Shape shape(extents);
    want(shape.numel() <= kMostElements, "is too large: " + what + " " + shape.str() + " has more than 2^30 elements");
    return shape;
  }

  int64_t window(int axis, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) const {
    want(kernel > 0 && stride > 0 && padding >= 0 && dilation > 0, "wants kernel, stride and dilation over 0, padding not under 0");
    const int64_t room = shape_[axis] + 2 * padding - dilation * (kernel - 1) - 1;
    want(room >= 0, "does not fit its input " + shape_.str());
    return room / stride + 1;
  }

  /// The module, with a line in infos_.
  std::unique_ptr<Module> described(const LayerSpec& layer, const std::string& name, const LayerGroup& group) {
    const size_t at = infos_.size();
    infos_.push_back({.name = name, .type = layer.type, .depth = depth_, .input = shape_});
    auto module = make_checked(layer, name + ".", group);
    LayerInfo& info = infos_[at];
    info.output = shape_;
    if (layer.type == "residual") return module;
    const std::vector<Parameter> parameters = module->parameters();
    if (!layer.init.empty()) choose_init(layer, at == 0, parameters);
    for (const Parameter& parameter : parameters) info.parameters += parameter.tensor->numel();
    if (layer.type == "conv2d" || layer.type == "linear") {
      const Tensor& weight = *parameters[0].tensor;
      info.flops = 2 * shape_.numel() * (weight.numel() / weight.size(0));
    }
    return module;
  }

  void choose_init(const LayerSpec& layer, bool first, const std::vector<Parameter>& parameters) {
    const bool conv = layer.type == "conv2d";
    if (conv && layer.init == "dirac") {
      want(layer.groups == 1, "has init \"dirac\", which wants one group");
      inits_.push_back({parameters[0].tensor, initialize_dirac});
    } else if (conv && layer.init == "whiten") {
      const Shape& weight = parameters[0].tensor->shape();
      const int64_t wanted = 2 * weight[1] * weight[2] * weight[3];
      want(first, "has init \"whiten\", which only the first layer can have");
      want(layer.groups == 1 && layer.out == wanted, "has init \"whiten\": wants 'out' " + std::to_string(wanted) + ", two filters for each value of a patch, in one group");
      whitened_ = parameters[0].tensor;
    } else if (layer.type == "linear" && layer.init == "unit_std") {
      inits_.push_back({parameters[0].tensor, initialize_unit_std});
    } else {
      fail("has no init \"" + layer.init + "\": conv2d has dirac and whiten, linear has unit_std");
    }
  }

  std::unique_ptr<Module> make_checked(const LayerSpec& layer, const std::string& prefix, const LayerGroup& group) {
    try {
      return make(layer, prefix, group);
    } catch (const ShapeError& error) {
      fail(std::string("is too large: ") + error.what());
    } catch (const OutOfMemory& error) {
      fail(std::string("does not fit in memory: ") + error.what());
    }
  }

  std::unique_ptr<Module> make(const LayerSpec& layer, const std::string& prefix, const LayerGroup& group) {
    if (layer.type == "conv2d") return make_conv2d(layer);
    if (layer.type == "linear") return make_linear(layer);
    want(layer.eps.value_or(1) > 0, "wants eps over 0, got " + std::to_string(layer.eps.value_or(1)));
    want(layer.momentum >= 0 && layer.momentum <= 1,
         "wants momentum in [0, 1], got " + std::to_string(layer.momentum));
    if (layer.type == "batch_norm") return std::make_unique<BatchNorm>(context_, shape_[-1], norm_options(group));
    if (layer.type == "layer_norm") return std::make_unique<LayerNorm>(context_, shape_[-1], layer.eps.value_or(1e-5));
    if (layer.type == "max_pool" || layer.type == "avg_pool") return make_pool(layer);
    if (layer.type == "global_avg_pool") {
      want_picture();
      shape_ = {1, shape_[3]};
      return std::make_unique<Lambda>([](const Tensor& x) { return global_avg_pool(x); });
    }
    if (layer.type == "flatten") {
      shape_ = {1, shape_.numel()};
      return std::make_unique<Lambda>(flatten_as_pytorch);
    }
    if (layer.type == "dropout") {
      want(layer.p >= 0 && layer.p < 1, "wants p in [0, 1), got " + std::to_string(layer.p));
      return std::make_unique<Dropout>(layer.p, dropouts_++);
    }
    if (layer.type == "scale") {
      want(std::isfinite(layer.factor), "wants a finite factor");
      return std::make_unique<Lambda>([factor = layer.factor](const Tensor& x) { return mul(x, factor); });
    }
    if (layer.type == "residual") return make_residual(layer, prefix);
    if (auto activation = activation_of(layer.type)) return std::make_unique<Lambda>(std::move(activation));
    fail("is of no known type");
  }

  std::unique_ptr<Module> make_conv2d(const LayerSpec& layer) {
    want_picture();
    want(layer.out > 0, "wants 'out', the number of its channels");
    want(layer.groups > 0 && shape_[3] % layer.groups == 0 && layer.out % layer.groups == 0,
         "has groups " + std::to_string(layer.groups) + " that do not divide its channels " + std::to_string(shape_[3]) + " and " + std::to_string(layer.out));
    const Pair stride = layer.stride.value_or(1);
    const int64_t in = shape_[3];
    shape_ = sized("its output", {1, window(1, layer.kernel.h, stride.h, layer.padding.h, layer.dilation.h),
                                  window(2, layer.kernel.w, stride.w, layer.padding.w, layer.dilation.w), layer.out});
    sized("its weight", {layer.out, layer.kernel.h, layer.kernel.w, in / layer.groups});
    const tern::Conv2d options{.stride = stride, .padding = layer.padding, .dilation = layer.dilation, .groups = layer.groups};
    return std::make_unique<Conv2d>(context_, in, layer.out, layer.kernel, options, layer.bias);
  }

  std::unique_ptr<Module> make_linear(const LayerSpec& layer) {
    want(layer.out > 0, "wants 'out', the number of its features");
    want(shape_.rank() == 2, "wants features [N, C], gets " + shape_.str() + ": put flatten or global_avg_pool in front");
    const int64_t in = shape_[1];
    shape_ = {1, layer.out};
    sized("its weight", {layer.out, in});
    return std::make_unique<Linear>(context_, in, layer.out, layer.bias);
  }

  std::unique_ptr<Module> make_pool(const LayerSpec& layer) {
    want_picture();
    const Pair stride = layer.stride.value_or(layer.kernel);
    want(layer.kernel.h == layer.kernel.w && stride.h == stride.w && layer.padding.h == layer.padding.w,
         "wants one number each for kernel, stride and padding");
    const int64_t kernel = layer.kernel.h, padding = layer.padding.h;
    want(2 * padding <= kernel, "wants padding of at most half its kernel");
    shape_ = {1, window(1, kernel, stride.h, padding, 1), window(2, kernel, stride.w, padding, 1), shape_[3]};
    if (layer.type == "max_pool") return std::make_unique<Lambda>([options = max_pool_options(layer)](const Tensor& x) { return max_pool2d(x, options); });
    const AvgPool2d options{.kernel = kernel, .stride = stride.h, .padding = padding};
    return std::make_unique<Lambda>([options](const Tensor& x) { return avg_pool2d(x, options); });
  }

  std::unique_ptr<Module> make_residual(const LayerSpec& layer, const std::string& prefix) {
    const std::string at = at_;
    const Shape before = shape_;
    ++depth_;
    auto body = build(layer.body, prefix);
    const Shape after = shape_;
    shape_ = before;
    auto shortcut = build(layer.shortcut, prefix);
    --depth_;
    at_ = at;
    want(shape_ == after, "has branches of different shapes: body " + after.str() + ", shortcut " + shape_.str());
    auto activation = activation_of(layer.activation);
    want(layer.activation.empty() || activation, "has no activation '" + layer.activation + "'");
    return std::make_unique<Residual>(std::move(body), std::move(shortcut), std::move(activation));
  }

  Context& context_;
  Shape shape_;  // of one picture's activations
  std::string at_;
  std::map<std::string, int> unnamed_;
  uint32_t dropouts_ = 0;
  int depth_ = 0;
  std::vector<LayerInfo> infos_;
  struct Init {
    const Tensor* weight;
    void (*initialize)(const Tensor& weight);
  };
  std::vector<Init> inits_;
  const Tensor* whitened_ = nullptr;
};

void refuse_equal_names(Module& network) {
  std::map<std::string, int> seen;
  for (const Parameter& parameter : network.parameters())
    if (seen[parameter.name]++) throw ConfigError("[model] two layers have a tensor '" + parameter.name + "': give them different names");
}

}  // namespace

std::vector<LayerGroup> group_layers(std::span<const LayerSpec> layers) {
  const auto is = [&](size_t i, const char* type) { return i < layers.size() && layers[i].type == type; };
  std::vector<LayerGroup> groups;
  for (size_t at = 0; at < layers.size(); at += groups.back().specs.size()) {
    LayerGroup& group = groups.emplace_back();
    group.specs = layers.subspan(at, 1);
    const size_t norm = is(at, "max_pool") ? at + 1 : at;
    if (is(norm, "batch_norm")) {
      group.norm = &layers[norm];
      const bool activated = is(norm + 1, "relu") || is(norm + 1, "gelu");
      group.specs = layers.subspan(at, norm + (activated ? 2 : 1) - at);
    } else if (is(at, "relu") && is(at + 1, "max_pool")) {
      group.pools_first = true;
      group.specs = layers.subspan(at, 2);
    }
  }
  return groups;
}

int64_t Network::forward_flops() const {
  int64_t sum = 0;
  for (const LayerInfo& layer : layers_) sum += layer.flops;
  return sum;
}

int64_t Network::training_flops() const {
  const auto first = std::ranges::find_if(layers_, [](const LayerInfo& layer) { return layer.flops > 0; });
  return 3 * forward_flops() - (first == layers_.end() ? 0 : first->flops);
}

void Network::initialize_from(std::span<const float> pictures, const Shape& shape) const {
  const Shape& weight = whitened_->shape();
  whitened_->write(std::span<const float>(whitening_filters(pictures, shape, {weight[1], weight[2]})));
}

std::unique_ptr<Network> build_network(Context& context, const std::vector<LayerSpec>& layers, InputShape input,
                                       uint64_t seed, InitScheme init) {
  if (layers.empty()) throw ConfigError("[model] has no layers");
  Builder builder(context, input);
  auto sequence = builder.build(layers, "");
  auto network = std::make_unique<Network>(std::move(*sequence), builder.shape(), builder.take_infos(), builder.whitened());
  refuse_equal_names(*network);
  initialize(network->parameters(), seed, init);
  builder.initialize_weights();
  return network;
}

}  // namespace tern::nn
