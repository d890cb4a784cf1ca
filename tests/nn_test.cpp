// Modules, presets, initialisers, networks as data, weights.
#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/error.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "nn/network.h"
#include "nn/weights.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"
#include "tools/model.h"

using namespace tern;

namespace {

std::unique_ptr<nn::Network> preset(Context& context, const std::string& name, nn::PresetOptions options = {}) {
  return nn::build_network(context, nn::network_preset(name, options), {}, 1);
}

int64_t count(nn::Module& network) {
  int64_t sum = 0;
  for (const Parameter& p : network.parameters()) sum += p.tensor->numel();
  return sum;
}

std::vector<std::string> names(nn::Module& network) {
  std::vector<std::string> result;
  for (const Parameter& p : network.parameters()) result.push_back(p.name);
  for (const nn::Buffer& b : network.buffers()) result.push_back(b.name);
  return result;
}

Tensor noise(Context& context, const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = uniform01(random4({3, 0, i, 0}).v[0]) * 2 - 1;
  return Tensor::from<float>(context, shape, values);
}

std::unique_ptr<nn::Network> from_json(Context& context, const std::string& layers) {
  return nn::build_network(context, parse_layers(layers), {8, 8, 3}, 1);
}

}  // namespace

TEST_CASE("presets have PyTorch's numbers of parameters", "[nn]") {
  Context context({.threads = 1});
  CHECK(count(*preset(context, "cifar-cnn")) == 298570);
  CHECK(count(*preset(context, "lenet")) == 62006);
  CHECK(count(*preset(context, "resnet18")) == 11173962);
  CHECK(count(*preset(context, "airbench94")) == 1972792);
  CHECK(count(*preset(context, "cifar-cnn", {.classes = 100, .convs_per_block = {}, .dropout = {}})) ==
        298570 + 90 * 33);
  const auto described = preset(context, "cifar-cnn", {.classes = 10, .convs_per_block = 1, .dropout = {}});
  CHECK(described->parameters().size() == 3 * 4 + 6);
  CHECK_THROWS_WITH(nn::network_preset("vgg"), HasText("cifar-cnn, lenet, resnet18, airbench94"));
  CHECK_THROWS_WITH(nn::network_preset("lenet", {.classes = 10, .convs_per_block = {}, .dropout = 0.1}),
                    HasText("lenet has no option 'dropout'"));
  CHECK_THROWS_AS(nn::network_preset("lenet", {.classes = 0, .convs_per_block = {}, .dropout = {}}), ConfigError);
}

TEST_CASE("presets have PyTorch's names", "[nn]") {
  Context context({.threads = 1});
  CHECK(names(*preset(context, "lenet")) ==
        std::vector<std::string>{"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias",
                                 "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"});
  const auto cnn = names(*preset(context, "cifar-cnn"));
  CHECK(cnn.size() == 6 * 4 + 6 + 6 * 3);
  for (const char* name :
       {"conv6.bias", "bn6.weight", "bn1.running_mean", "bn3.running_var", "bn6.num_batches_tracked", "fc3.bias"})
    CHECK(std::ranges::count(cnn, name) == 1);
  const auto resnet = names(*preset(context, "resnet18"));
  CHECK(resnet.size() == 62 + 60);  // as torchvision's: 62 parameters, 20 BatchNorms of three buffers
  for (const char* name : {"layer1.0.conv1.weight", "layer2.0.downsample.0.weight", "layer4.0.downsample.1.running_var",
                           "layer4.1.bn2.bias", "fc.weight"})
    CHECK(std::ranges::count(resnet, name) == 1);
  CHECK(std::ranges::count(resnet, "layer1.0.downsample.0.weight") == 0);
}

TEST_CASE("initialisers fill their range or variance, and the same values again", "[nn]") {
  Context context({.threads = 1});
  struct Row {
    nn::InitScheme scheme;
    double variance, bound;  // bound 0: normal
  };
  const double fan_in = 64 * 9, fan_out = 128 * 9;
  const Row rows[] = {{nn::InitScheme::pytorch, 1 / (3 * fan_in), 1 / std::sqrt(fan_in)},
                      {nn::InitScheme::kaiming_uniform, 2 / fan_in, std::sqrt(6 / fan_in)},
                      {nn::InitScheme::kaiming_normal, 2 / fan_in, 0},
                      {nn::InitScheme::xavier_uniform, 2 / (fan_in + fan_out), std::sqrt(6 / (fan_in + fan_out))},
                      {nn::InitScheme::xavier_normal, 2 / (fan_in + fan_out), 0}};
  for (const Row& row : rows) {
    const auto network = nn::build_network(context, nn::network_preset("cifar-cnn"), {}, 1, row.scheme);
    const auto again = nn::build_network(context, nn::network_preset("cifar-cnn"), {}, 1, row.scheme);
    const auto other = nn::build_network(context, nn::network_preset("cifar-cnn"), {}, 2, row.scheme);
    for (size_t i = 0; i < network->parameters().size(); ++i) {
      const Parameter p = network->parameters()[i];
      const auto values = p.tensor->to_vector<float>();
      CHECK(values == again->parameters()[i].tensor->to_vector<float>());
      if (p.name == "conv5.bias") CHECK((values[0] == 0) == (row.scheme != nn::InitScheme::pytorch));
      if (p.name == "bn5.weight") CHECK(values == std::vector<float>(128, 1.0F));
      if (p.name != "conv5.weight") continue;
      CHECK(values != other->parameters()[i].tensor->to_vector<float>());
      double sum = 0, squares = 0, largest = 0;
      for (float v : values) {
        sum += v;
        squares += double{v} * v;
        largest = std::max(largest, std::abs(double{v}));
      }
      const auto n = static_cast<double>(values.size());
      CHECK(std::abs(sum / n) < 5 * std::sqrt(row.variance / n));
      CHECK(squares / n == Approx(row.variance).epsilon(0.03));
      if (row.bound > 0) {
        CHECK(largest <= row.bound * (1 + 1e-6));
        CHECK(largest > 0.999 * row.bound);
      } else {
        CHECK(largest > 3.5 * std::sqrt(row.variance));
      }
    }
  }
}

TEST_CASE("a network written in JSON may branch: y = relu(body(x) + shortcut(x))", "[nn]") {
  Context context({.threads = 1});
  NoGrad no_grad(context);
  const auto network = from_json(context, R"([
    {"type": "conv2d", "name": "stem", "out": 4, "kernel": 3, "padding": 1},
    {"type": "residual", "name": "block", "activation": "relu",
     "body": [{"type": "conv2d", "name": "a", "out": 6, "kernel": 3, "stride": 2, "padding": 1}],
     "shortcut": [{"type": "conv2d", "name": "b", "out": 6, "kernel": 1, "stride": 2}]},
    {"type": "flatten"}, {"type": "linear", "out": 5}])");
  CHECK(names(*network) == std::vector<std::string>{"stem.weight", "stem.bias", "block.a.weight", "block.a.bias",
                                                    "block.b.weight", "block.b.bias", "linear1.weight",
                                                    "linear1.bias"});
  CHECK(network->output_shape() == Shape{1, 5});
  const Tensor x = noise(context, {2, 8, 8, 3});
  CHECK((*network)(x).shape() == Shape{2, 5});

  // Identity shortcut and zero body: the input comes through, and with relu only its positive part.
  for (const char* activation : {"", R"(, "activation": "relu")"}) {
    const auto identity = from_json(context, std::string(R"([{"type": "residual", "name": "r", "body": [
      {"type": "conv2d", "name": "c", "out": 3, "kernel": 1}])") +
                                                 activation + "}]");
    for (const Parameter& p : identity->parameters())
      for (float& value : p.tensor->span<float>()) value = 0;
    auto wanted = x.to_vector<float>();
    if (*activation)
      for (float& value : wanted) value = std::max(value, 0.0F);
    CHECK((*identity)(x).to_vector<float>() == wanted);
  }
}

TEST_CASE("build_network names the layer that does not fit", "[nn]") {
  Context context({.threads = 1});
  const std::pair<const char*, const char*> rows[] = {
      {R"([])", "has no layers"},
      {R"([{"type": "conv2d", "name": "c", "kernel": 3}])", "layer 'c' (conv2d) wants 'out'"},
      {R"([{"type": "conv2d", "name": "c", "out": 4, "kernel": 9}])", "layer 'c' (conv2d) does not fit its input"},
      {R"([{"type": "conv2d", "name": "c", "out": 4}])", "wants kernel"},
      {R"([{"type": "conv2d", "name": "c", "out": 4, "kernel": 1, "groups": 2}])",
       "do not divide its channels 3 and 4"},
      {R"([{"type": "linear", "name": "l", "out": 4}])", "put flatten or global_avg_pool in front"},
      {R"([{"type": "flatten"}, {"type": "max_pool", "name": "p", "kernel": 2}])",
       "layer 'p' (max_pool) wants a picture"},
      {R"([{"type": "max_pool", "kernel": 2, "padding": 2}])", "padding of at most half"},
      {R"([{"type": "dropout", "p": 1}])", "wants p in [0, 1)"},
      {R"([{"type": "residual", "name": "r", "body": [{"type": "conv2d", "out": 4, "kernel": 1}]}])",
       "layer 'r' (residual) has branches of different shapes"},
      {R"([{"type": "residual", "body": [], "activation": "square"}])", "has no activation 'square'"},
      {R"([{"type": "batch_norm", "name": "n"}, {"type": "batch_norm", "name": "n"}])",
       "two layers have a tensor 'n.weight'"},
      {R"([{"type": "relu", "p": 1}])", "model.layers.0.p: unknown key 'p'"},
      {R"([{"type": "rellu"}])", "did you mean 'relu'"},
      {R"([{"type": "conv2d", "out": -1}])", "model.layers.0.out: got -1"},
      {R"([3])", "model.layers.0: got 3"}};
  for (const auto& [layers, says] : rows) {
    INFO(layers);
    CHECK_THROWS_WITH(from_json(context, layers), HasText(says));
  }
}

TEST_CASE("BatchNorm, the pooling in front of it and the activation behind it give the same bits in one layer", "[nn]") {
  Context context({.threads = 1});
  context.set_lane_size(2);
  const bool pooled = GENERATE(false, true);
  const std::string activation = GENERATE(as<std::string>{}, "", "relu", "gelu");
  std::string layers = R"({"type": "batch_norm", "name": "bn"})";
  if (pooled) layers = R"({"type": "max_pool", "kernel": 2}, )" + layers;
  if (!activation.empty()) layers += R"(, {"type": ")" + activation + "\"}";
  INFO(layers);
  const auto fused = from_json(context, "[" + layers + "]");
  const auto plain = from_json(context, R"([{"type": "batch_norm", "name": "bn"}])");
  CHECK(names(*fused) == names(*plain));
  CHECK(fused->layers().size() == 1U + pooled + !activation.empty());
  CHECK(fused->output_shape() == (pooled ? Shape{1, 4, 4, 3} : Shape{1, 8, 8, 3}));
  for (nn::Network* network : {fused.get(), plain.get()})
    for (const Parameter& p : network->parameters())
      for (int64_t i = 0; i < p.tensor->numel(); ++i) p.tensor->data<float>()[i] = 0.3F + 0.2F * static_cast<float>(i);
  for (const bool training : {true, false}) {
    fused->train(training);
    plain->train(training);
    const Tensor x = noise(context, {5, 8, 8, 3});
    const Tensor z = (*plain)(pooled ? max_pool2d(x) : x);
    const Tensor wanted = activation == "relu" ? relu(z) : activation == "gelu" ? gelu(z) : z;
    CHECK((*fused)(x).to_vector<float>() == wanted.to_vector<float>());
  }
  for (size_t i = 0; i < plain->buffers().size(); ++i) {  // running statistics
    const Tensor &got = *fused->buffers()[i].tensor, &wanted = *plain->buffers()[i].tensor;
    if (got.dtype() == DType::f32) CHECK(got.to_vector<float>() == wanted.to_vector<float>());
  }
}

TEST_CASE("weights go through a file unchanged, and another network's are refused whole", "[nn]") {
  Context context({.threads = 1});
  const test::TempDir dir;
  auto layers = [](int out) {
    return R"([{"type": "conv2d", "name": "c", "out": 4, "kernel": [3, 2]}, {"type": "batch_norm", "name": "n"},
               {"type": "flatten"}, {"type": "linear", "name": "l", "out": )" +
           std::to_string(out) + "}]";
  };
  const auto first = nn::build_network(context, parse_layers(layers(5)), {8, 8, 3}, 1);
  const auto second = nn::build_network(context, parse_layers(layers(5)), {8, 8, 3}, 2);
  const auto path = dir / "w.safetensors";
  write_safetensors(path, nn::weight_sources(*first));
  const auto file = SafetensorsFile::open(path);
  CHECK(file.at("c.weight").spec.shape == Shape{4, 3, 3, 2});  // OIHW
  CHECK(file.at("n.num_batches_tracked").spec.dtype == DType::i64);
  nn::load_weights(*second, file);
  for (size_t i = 0; i < first->parameters().size(); ++i)
    CHECK(first->parameters()[i].tensor->to_vector<float>() == second->parameters()[i].tensor->to_vector<float>());

  const auto wider = nn::build_network(context, parse_layers(layers(6)), {8, 8, 3}, 1);
  const auto before = wider->parameters()[0].tensor->to_vector<float>();
  CHECK_THROWS_WITH(nn::load_weights(*wider, file), HasText("'l.weight'"));
  const auto lenet = preset(context, "lenet");
  CHECK_THROWS_WITH(nn::load_weights(*lenet, file), HasText("missing conv1.weight"));
  CHECK_THROWS_WITH(nn::load_weights(*lenet, file), HasText("unexpected"));
  CHECK(wider->parameters()[0].tensor->to_vector<float>() == before);
}
