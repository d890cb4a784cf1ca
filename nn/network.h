#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nn/init.h"
#include "nn/layers.h"

namespace tern::nn {

/// One layer of a network as data: what presets and networks written in JSON are made of. Input extents follow from
/// the layer in front.
struct LayerSpec {
  /// conv2d, linear, batch_norm, layer_norm, relu, gelu, gelu_tanh, silu, sigmoid, tanh, max_pool, avg_pool,
  /// global_avg_pool, flatten, dropout, scale, residual
  std::string type = {};
  std::string name = {};  ///< prefix of its tensors in weights files; empty: the type and a number ("conv2d3")

  int64_t out = 0;                            ///< conv2d: channels; linear: features
  Pair kernel = 0;             ///< conv2d and pools
  std::optional<Pair> stride = {};  ///< conv2d: 1 by default; pools: the kernel
  Pair padding = 0;
  Pair dilation = 1;
  int64_t groups = 1;
  bool bias = true;                           ///< conv2d, linear
  std::optional<double> eps = {};                  ///< norms: 1e-5
  double momentum = 0.1;                      ///< batch_norm
  double p = 0.5;                             ///< dropout
  double factor = 1;                          ///< scale: y = factor * x
  /// How its weight starts, after the network's scheme: conv2d "dirac" (initialize_dirac) or, for the network's first layer, "whiten"
  /// (Network::initialize_from); linear "unit_std" (initialize_unit_std); empty: by the scheme alone.
  std::string init = {};
  std::vector<LayerSpec> body = {};                ///< residual: the branch with weights
  std::vector<LayerSpec> shortcut = {};            ///< residual: the other one; empty is the identity
  std::string activation = {};                     ///< residual: after the sum; empty is none
};

/// A picture's extents as a network takes it.
struct InputShape {
  int64_t height = 32, width = 32, channels = 3;
};

/// Options of the presets; the ones a preset does not have are refused by network_preset.
struct PresetOptions {
  int64_t classes = 10;
  std::optional<int> convs_per_block;  ///< cifar-cnn: 2 (the seed's code) or 1 (its description)
  std::optional<double> dropout;       ///< cifar-cnn: 0.5
};

/// Layers of "cifar-cnn", "lenet", "resnet18" or "airbench94" (see docs; names as in the plain PyTorch modules). Throws ConfigError
/// naming the presets, or the option that the preset does not have.
std::vector<LayerSpec> network_preset(const std::string& name, const PresetOptions& options = {});

/// A layer as it was built into a network.
struct LayerInfo {
  std::string name;        ///< with those of the residuals it lies in: "layer1.0.conv1"
  std::string type;
  int depth = 0;           ///< how many residuals it lies in
  bool fused = false;      ///< a relu or gelu that the batch_norm in front of it computes
  Shape input = {}, output = {};  ///< for one picture: [1, H, W, C] or [1, C]
  int64_t parameters = 0;  ///< its own, not those of a residual's branches
  int64_t flops = 0;       ///< of a forward pass of one picture; see Network::forward_flops
};

/// A network and the extents of what flows through it for one picture.
class Network final : public Sequential {
 public:
  /// `whitened`: the first layer's weight where it starts from pictures, or null; it lies in `layers`.
  Network(Sequential layers, Shape output, std::vector<LayerInfo> infos, const Tensor* whitened)
      : Sequential(std::move(layers)), output_shape_(output), layers_(std::move(infos)), whitened_(whitened) {}
  const Shape& output_shape() const { return output_shape_; }
  /// A line a LayerSpec, in their order; those of a residual's body and shortcut follow it.
  const std::vector<LayerInfo>& layers() const { return layers_; }

  /// True where a layer's initial weight follows from the training pictures: initialize_from() sets it.
  bool wants_pictures() const { return whitened_ != nullptr; }
  static constexpr int64_t kWhiteningPictures = 5000;
  /// Writes the whitening filters of normalised pictures of `shape` [N, H, W, C], N best kWhiteningPictures, into the first
  /// layer's weight. See whitening_filters().
  void initialize_from(std::span<const float> pictures, const Shape& shape) const;

  /// Floating-point operations for one picture in convolutions and linear layers, a multiply-add counted as two; norms,
  /// activations and pools are not counted.
  int64_t forward_flops() const;
  /// Forward and backward: each gradient costs the forward pass again, but nobody wants that of the pictures.
  int64_t training_flops() const;

 private:
  Shape output_shape_;
  std::vector<LayerInfo> layers_;
  const Tensor* whitened_;
};

/// Neighbouring layers that run together, to the bits, gradients included, that they have one by one.
struct LayerGroup {
  std::span<const LayerSpec> specs;  ///< in the network's order
  const LayerSpec* norm = nullptr;   ///< a batch_norm, which computes the max_pool in front of it and the relu or gelu behind it, where they are there
  bool pools_first = false;          ///< a relu and the max_pool behind it: the other way round the relu has less to do
};
/// Cuts a list of layers, which must outlive the result, into groups.
std::vector<LayerGroup> group_layers(std::span<const LayerSpec> layers);

/// A network with its initialised parameters; what group_layers() puts together runs together.
/// Throws ConfigError naming the layer whose options or input do not fit.
std::unique_ptr<Network> build_network(Context& context, const std::vector<LayerSpec>& layers, InputShape input,
                                          uint64_t seed, InitScheme init = InitScheme::pytorch);

}  // namespace tern::nn
