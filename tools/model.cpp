#include "tools/model.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tools/nearest.h"

namespace tern {
namespace {

using nlohmann::json;

/// One object of the array: reads its keys into a LayerSpec and refuses those that its type does not have.
class LayerReader {
 public:
  LayerReader(const json& object, std::string at) : object_(object), at_(std::move(at)) {
    if (!object.is_object()) fail(at_, object, "an object with a \"type\"");
    read("type", [&](const json& v, const std::string& key) { layer_.type = text(v, key); });
    const auto known = keys().find(layer_.type);
    if (known == keys().end()) {
      std::vector<std::string> names;
      std::string all;
      for (const auto& [name, ignored] : keys()) {
        names.push_back(name);
        all += (all.empty() ? "" : ", ") + name;
      }
      if (!object.contains("type")) throw LayerError(at_ + ".type", "is missing, wanted one of " + all);
      unknown("layer type", layer_.type, at_ + ".type", names);
    }
    allowed_ = known->second;
    allowed_.insert(allowed_.end(), {"type", "name"});
    for (const auto& [key, value] : object.items())
      if (std::ranges::find(allowed_, key) == allowed_.end()) unknown("key", key, at_ + "." + key, allowed_);
  }

  nn::LayerSpec layer() {
    read("name", [&](const json& v, const std::string& key) { layer_.name = text(v, key); });
    read("out", [&](const json& v, const std::string& key) { layer_.out = integer(v, key); });
    read("kernel", [&](const json& v, const std::string& key) { layer_.kernel = pair(v, key); });
    read("stride", [&](const json& v, const std::string& key) { layer_.stride = pair(v, key); });
    read("padding", [&](const json& v, const std::string& key) { layer_.padding = pair(v, key); });
    read("dilation", [&](const json& v, const std::string& key) { layer_.dilation = pair(v, key); });
    read("groups", [&](const json& v, const std::string& key) { layer_.groups = integer(v, key); });
    read("bias", [&](const json& v, const std::string& key) { layer_.bias = boolean(v, key); });
    read("eps", [&](const json& v, const std::string& key) { layer_.eps = number(v, key); });
    read("momentum", [&](const json& v, const std::string& key) { layer_.momentum = number(v, key); });
    read("init", [&](const json& v, const std::string& key) { layer_.init = text(v, key); });
    read("factor", [&](const json& v, const std::string& key) { layer_.factor = number(v, key); });
    read("p", [&](const json& v, const std::string& key) { layer_.p = number(v, key); });
    read("activation", [&](const json& v, const std::string& key) { layer_.activation = text(v, key); });
    read("body", [&](const json& v, const std::string& key) { layer_.body = list(v, key); });
    read("shortcut", [&](const json& v, const std::string& key) { layer_.shortcut = list(v, key); });
    return layer_;
  }

  static std::vector<nn::LayerSpec> list(const json& array, const std::string& at) {
    if (!array.is_array()) fail(at, array, "an array of layers");
    std::vector<nn::LayerSpec> layers;
    for (size_t i = 0; i < array.size(); ++i) layers.push_back(LayerReader(array[i], at + "." + std::to_string(i)).layer());
    return layers;
  }

 private:
  /// Layer types and their keys besides type and name.
  static const std::map<std::string, std::vector<std::string>>& keys() {
    static const std::map<std::string, std::vector<std::string>> table = {
        {"conv2d", {"out", "kernel", "stride", "padding", "dilation", "groups", "bias", "init"}},
        {"linear", {"out", "bias", "init"}},
        {"batch_norm", {"eps", "momentum"}},
        {"layer_norm", {"eps"}},
        {"relu", {}}, {"gelu", {}}, {"gelu_tanh", {}}, {"silu", {}}, {"sigmoid", {}}, {"tanh", {}},
        {"max_pool", {"kernel", "stride", "padding"}},
        {"avg_pool", {"kernel", "stride", "padding"}},
        {"global_avg_pool", {}},
        {"flatten", {}},
        {"dropout", {"p"}},
        {"scale", {"factor"}},
        {"residual", {"body", "shortcut", "activation"}},
    };
    return table;
  }

  template <class Read>
  void read(const std::string& key, const Read& each) {
    if (const auto it = object_.find(key); it != object_.end()) each(*it, at_ + "." + key);
  }

  [[noreturn]] static void fail(const std::string& key, const json& got, const std::string& wanted) {
    throw LayerError(key, "got " + got.dump() + ", wanted " + wanted);
  }
  [[noreturn]] static void unknown(const std::string& what, const std::string& got, const std::string& key,
                                   const std::vector<std::string>& names) {
    const std::string near = nearest_name(got, names);
    throw LayerError(key, "unknown " + what + " '" + got + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
  static std::string text(const json& v, const std::string& key) {
    if (!v.is_string()) fail(key, v, "a string");
    return v.get<std::string>();
  }
  static bool boolean(const json& v, const std::string& key) {
    if (!v.is_boolean()) fail(key, v, "true or false");
    return v.get<bool>();
  }
  static double number(const json& v, const std::string& key) {
    if (!v.is_number()) fail(key, v, "a number");
    return v.get<double>();
  }
  static int64_t integer(const json& v, const std::string& key) {
    constexpr int64_t kMost = 1 << 20;
    if (!v.is_number_integer() || v < 0 || v > kMost) fail(key, v, "a whole number from 0 to " + std::to_string(kMost));
    return v.get<int64_t>();
  }
  static Pair pair(const json& v, const std::string& key) {
    if (!v.is_array()) return integer(v, key);
    if (v.size() != 2) fail(key, v, "a number or two (height, width)");
    return {integer(v[0], key), integer(v[1], key)};
  }

  const json& object_;
  std::string at_;
  std::vector<std::string> allowed_;
  nn::LayerSpec layer_;
};

nn::InitScheme scheme_of(InitScheme init) {
  switch (init) {
    case InitScheme::kaiming: return nn::InitScheme::kaiming_normal;
    case InitScheme::xavier: return nn::InitScheme::xavier_uniform;
    case InitScheme::standard: break;
  }
  return nn::InitScheme::pytorch;
}

}  // namespace

std::vector<nn::LayerSpec> parse_layers(const std::string& text) {
  constexpr const char* kKey = "model.layers";
  try {
    return LayerReader::list(json::parse(text), kKey);
  } catch (const json::parse_error& error) {
    throw LayerError(kKey, error.what());
  }
}

std::vector<nn::LayerSpec> layers_of(const ModelConfig& model, int64_t classes) {
  if (model.name == ModelName::layers) return parse_layers(model.layers);
  nn::PresetOptions options{.classes = classes, .convs_per_block = {}, .dropout = {}};
  if (model.name == ModelName::cifar_cnn) {
    options.convs_per_block = model.convs_per_block;
    options.dropout = model.dropout;
  }
  return nn::network_preset(std::string(name_of(model.name)), options);
}

std::unique_ptr<nn::Network> build_model(Context& context, const ModelConfig& model, nn::InputShape input,
                                         int64_t classes, uint64_t seed) {
  auto network = nn::build_network(context, layers_of(model, classes), input, seed, scheme_of(model.init));
  if (network->output_shape() != Shape{1, classes})
    throw ConfigError("model.layers: the network gives " + network->output_shape().str() + " a picture, the data has " +
                      std::to_string(classes) + " classes");
  return network;
}

}  // namespace tern
