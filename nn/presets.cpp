#include "core/error.h"
#include "nn/network.h"

namespace tern::nn {
namespace {

LayerSpec conv(std::string name, int64_t out, int64_t kernel, int64_t padding, int64_t stride = 1, bool bias = true) {
  LayerSpec layer{.type = "conv2d", .name = std::move(name), .out = out};
  layer.kernel = kernel;
  layer.stride = stride;
  layer.padding = padding;
  layer.bias = bias;
  return layer;
}
LayerSpec batch_norm(std::string name) { return {.type = "batch_norm", .name = std::move(name)}; }
LayerSpec linear(std::string name, int64_t out) { return {.type = "linear", .name = std::move(name), .out = out}; }
LayerSpec plain(std::string type) { return {.type = std::move(type)}; }
LayerSpec max_pool(int64_t kernel) {
  LayerSpec layer = plain("max_pool");
  layer.kernel = kernel;
  return layer;
}
LayerSpec dropout(double p) {
  LayerSpec layer = plain("dropout");
  layer.p = p;
  return layer;
}

/// The seed's current network: three blocks of 3x3 convolutions at 32, 64 and 128 channels.
std::vector<LayerSpec> cifar_cnn(const PresetOptions& options) {
  const int convs = options.convs_per_block.value_or(2);
  if (convs != 1 && convs != 2)
    throw ConfigError("[cifar-cnn] convs_per_block is 1 or 2, got " + std::to_string(convs));
  const double p = options.dropout.value_or(0.5);
  std::vector<LayerSpec> layers;
  for (int block = 0; block < 3; ++block) {
    for (int i = 0; i < convs; ++i) {
      const std::string number = std::to_string(2 * block + i + 1);
      layers.push_back(conv("conv" + number, 32 << block, 3, 1));
      layers.push_back(batch_norm("bn" + number));
      layers.push_back(plain("relu"));
    }
    layers.push_back(max_pool(2));
  }
  layers.push_back(plain("global_avg_pool"));
  for (const auto& [name, features] : {std::pair{"fc1", 64}, {"fc2", 32}}) {
    layers.push_back(linear(name, features));
    layers.push_back(plain("relu"));
    layers.push_back(dropout(p));
  }
  layers.push_back(linear("fc3", options.classes));
  return layers;
}

/// The seed's legacy network. Ref: LeCun, Bottou, Bengio, Haffner (1998), with ReLU and max-pooling.
std::vector<LayerSpec> lenet(const PresetOptions& options) {
  return {conv("conv1", 6, 5, 0), plain("relu"), max_pool(2), conv("conv2", 16, 5, 0), plain("relu"), max_pool(2),
          plain("flatten"), linear("fc1", 120), plain("relu"), linear("fc2", 84), plain("relu"),
          linear("fc3", options.classes)};
}

LayerSpec basic_block(std::string name, int64_t channels, int64_t stride, bool project) {
  LayerSpec block{.type = "residual", .name = std::move(name)};
  block.body = {conv("conv1", channels, 3, 1, stride, false), batch_norm("bn1"), plain("relu"),
                conv("conv2", channels, 3, 1, 1, false), batch_norm("bn2")};
  if (project) block.shortcut = {conv("downsample.0", channels, 1, 0, stride, false), batch_norm("downsample.1")};
  block.activation = "relu";
  return block;
}

/// ResNet-18 in its CIFAR form: 3x3 stem, no max-pool. Names are torchvision's. Ref: He, Zhang, Ren, Sun (2015).
std::vector<LayerSpec> resnet18(const PresetOptions& options) {
  std::vector<LayerSpec> layers{conv("conv1", 64, 3, 1, 1, false), batch_norm("bn1"), plain("relu")};
  for (int stage = 0; stage < 4; ++stage)
    for (int i = 0; i < 2; ++i) {
      const bool shrinks = stage > 0 && i == 0;
      layers.push_back(basic_block("layer" + std::to_string(stage + 1) + "." + std::to_string(i), 64 << stage,
                                   shrinks ? 2 : 1, shrinks));
    }
  layers.push_back(plain("global_avg_pool"));
  layers.push_back(linear("fc", options.classes));
  return layers;
}

LayerSpec dirac_conv(std::string name, int64_t out) {
  LayerSpec layer = conv(std::move(name), out, 3, 1, 1, false);
  layer.init = "dirac";
  return layer;
}

/// 94 % on CIFAR-10 in seconds. Ref: Jordan (2024), arXiv:2404.00498, in its variant with Muon.
std::vector<LayerSpec> airbench94(const PresetOptions& options) {
  std::vector<LayerSpec> layers{conv("whiten", 24, 2, 0), plain("gelu")};
  layers[0].init = "whiten";
  const auto norm = [&](std::string name) {
    layers.push_back(batch_norm(std::move(name)));
    layers.back().eps = 1e-12;
    layers.back().momentum = 0.4;
    layers.push_back(plain("gelu"));
  };
  for (int group = 1; group <= 3; ++group) {
    const std::string at = "group" + std::to_string(group) + ".";
    const int64_t channels = group == 1 ? 64 : 256;
    layers.push_back(dirac_conv(at + "conv1", channels));
    layers.push_back(max_pool(2));
    norm(at + "bn1");
    layers.push_back(dirac_conv(at + "conv2", channels));
    norm(at + "bn2");
  }
  layers.push_back(max_pool(3));
  layers.push_back(plain("flatten"));
  LayerSpec head = linear("head", options.classes);
  head.bias = false;
  head.init = "unit_std";
  layers.push_back(head);
  layers.push_back(plain("scale"));
  layers.back().factor = 1.0 / 256;
  return layers;
}

}  // namespace

std::vector<LayerSpec> network_preset(const std::string& name, const PresetOptions& options) {
  if (options.classes < 1) throw ConfigError("[model] classes must be at least 1, got " + std::to_string(options.classes));
  auto refuse = [&](bool given, const char* option) {
    if (given) throw ConfigError("[model] " + name + " has no option '" + option + "'");
  };
  if (name == "cifar-cnn") return cifar_cnn(options);
  refuse(options.convs_per_block.has_value(), "convs_per_block");
  refuse(options.dropout.has_value(), "dropout");
  if (name == "lenet") return lenet(options);
  if (name == "resnet18") return resnet18(options);
  if (name == "airbench94") return airbench94(options);
  throw ConfigError("[model] no preset '" + name + "': cifar-cnn, lenet, resnet18, airbench94");
}

}  // namespace tern::nn
