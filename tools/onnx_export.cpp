#include "tools/onnx_export.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "core/error.h"
#include "core/version.h"
#include "nn/weights.h"
#include "tools/json_text.h"
#include "tools/protobuf_writer.h"

namespace tern {
namespace {

using nlohmann::ordered_json;

// LayerNormalization came with opset 17; GELU, of 20, is written out, so that runtimes of 2022 and later take the model.
constexpr int64_t kOpset = 17, kIrVersion = 8;

constexpr int64_t kFloat = 1;  // TensorProto.DataType

// Numbers of the fields in onnx.proto.
namespace model {
constexpr int kIrVersionField = 1, kProducer = 2, kProducerVersion = 3, kDoc = 6, kGraph = 7, kOpsets = 8, kMetadata = 14;
}
namespace graph {
constexpr int kNodes = 1, kName = 2, kInitializers = 5, kInputs = 11, kOutputs = 12;
}
namespace node {
constexpr int kInputs = 1, kOutputs = 2, kName = 3, kType = 4, kAttributes = 5;
}
namespace attribute {
constexpr int kName = 1, kFloatValue = 2, kIntValue = 3, kInts = 8, kType = 20;
enum Type { kTypeFloat = 1, kTypeInt = 2, kTypeInts = 7 };
}
namespace tensor {
constexpr int kDims = 1, kDataType = 2, kName = 8, kRawData = 9;
}

/// Attributes of a node.
class Attributes {
 public:
  Attributes& number(std::string_view name, double value) {
    ProtobufWriter a = begin(name, attribute::kTypeFloat);
    a.number(attribute::kFloatValue, static_cast<float>(value));
    return add(a);
  }
  Attributes& integer(std::string_view name, int64_t value) {
    ProtobufWriter a = begin(name, attribute::kTypeInt);
    a.integer(attribute::kIntValue, value);
    return add(a);
  }
  Attributes& integers(std::string_view name, std::initializer_list<int64_t> values) {
    ProtobufWriter a = begin(name, attribute::kTypeInts);
    for (const int64_t value : values) a.integer(attribute::kInts, value);
    return add(a);
  }
  const std::vector<ProtobufWriter>& list() const { return list_; }

 private:
  static ProtobufWriter begin(std::string_view name, attribute::Type type) {
    ProtobufWriter a;
    a.bytes(attribute::kName, name);
    a.integer(attribute::kType, type);
    return a;
  }
  Attributes& add(ProtobufWriter& a) {
    list_.push_back(std::move(a));
    return *this;
  }
  std::vector<ProtobufWriter> list_;
};

/// `name`: f32 [N, extents...]
ProtobufWriter value_info(std::string_view name, std::span<const int64_t> extents) {
  ProtobufWriter shape, batch, type, tensor_type, info;
  batch.bytes(2, "N");
  shape.message(1, batch);
  for (const int64_t extent : extents) {
    ProtobufWriter dimension;
    dimension.integer(1, extent);
    shape.message(1, dimension);
  }
  tensor_type.integer(1, kFloat);
  tensor_type.message(2, shape);
  type.message(1, tensor_type);
  info.bytes(1, name);
  info.message(2, type);
  return info;
}

/// Turns layers into nodes. Pictures are NCHW here; a value is known by its name.
class Graph {
 public:
  Graph(const std::vector<nn::LayerInfo>& infos) : infos_(infos) {}

  void initializer(std::string_view name, std::span<const int64_t> dims, std::string_view bytes) {
    ProtobufWriter t;
    for (const int64_t dim : dims) t.integer(tensor::kDims, dim);
    t.integer(tensor::kDataType, kFloat);
    t.bytes(tensor::kName, name);
    t.bytes(tensor::kRawData, bytes);
    proto.message(graph::kInitializers, t);
  }
  std::string constant(const std::string& name, std::span<const int64_t> dims, std::span<const float> values) {
    initializer(name, dims, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
    return name;
  }

  std::string emit(std::string_view type, const std::vector<std::string>& inputs, const Attributes& attributes = {}) {
    return emit_as(at_ + "/" + std::string(type) + "_" + std::to_string(nodes_), type, inputs, attributes);
  }
  std::string emit_as(const std::string& output, std::string_view type, const std::vector<std::string>& inputs, const Attributes& attributes = {}) {
    ProtobufWriter n;
    for (const std::string& input : inputs) n.bytes(node::kInputs, input);
    n.bytes(node::kOutputs, output);
    n.bytes(node::kName, "node_" + std::to_string(nodes_++) + "_" + output);
    n.bytes(node::kType, type);
    for (const ProtobufWriter& a : attributes.list()) n.message(node::kAttributes, a);
    proto.message(graph::kNodes, n);
    return output;
  }

  /// `x` behind the layers, whose lines in the infos come next.
  std::string sequence(const std::vector<nn::LayerSpec>& layers, std::string x) {
    for (const nn::LayerSpec& layer : layers) x = one(layer, infos_[next_++], x);
    return x;
  }

  /// Where nodes belong, for their names.
  void enter(std::string name) { at_ = std::move(name); }

  ProtobufWriter proto;

 private:
  std::string one(const nn::LayerSpec& layer, const nn::LayerInfo& info, const std::string& x) {
    enter(info.name);
    const std::string weight = info.name + ".weight", bias = info.name + ".bias";
    if (layer.type == "conv2d") return conv2d(layer, x, weight, bias);
    if (layer.type == "linear") {
      const Attributes transposed = Attributes().integer("transB", 1);
      return emit("Gemm", layer.bias ? std::vector{x, weight, bias} : std::vector{x, weight}, transposed);
    }
    if (layer.type == "batch_norm")
      return emit("BatchNormalization", {x, weight, bias, info.name + ".running_mean", info.name + ".running_var"},
                  Attributes().number("epsilon", layer.eps.value_or(1e-5)));
    if (layer.type == "layer_norm") return layer_norm(layer, info, x, weight, bias);
    if (layer.type == "max_pool") return emit("MaxPool", {x}, window(layer));
    if (layer.type == "avg_pool") return emit("AveragePool", {x}, window(layer).integer("count_include_pad", 1));
    if (layer.type == "global_avg_pool") return emit("Flatten", {emit("GlobalAveragePool", {x})}, Attributes().integer("axis", 1));
    if (layer.type == "flatten") return emit("Flatten", {x}, Attributes().integer("axis", 1));
    if (layer.type == "dropout") return x;
    if (layer.type == "scale") return emit("Mul", {x, scalar(layer.factor)});
    if (layer.type == "residual") return residual(layer, info, x);
    return activation(layer.type, x);
  }

  static Attributes window(const nn::LayerSpec& layer) {
    const Pair stride = layer.stride.value_or(layer.kernel);
    return Attributes()
        .integers("kernel_shape", {layer.kernel.h, layer.kernel.w})
        .integers("strides", {stride.h, stride.w})
        .integers("pads", {layer.padding.h, layer.padding.w, layer.padding.h, layer.padding.w});
  }

  std::string conv2d(const nn::LayerSpec& layer, const std::string& x, const std::string& weight, const std::string& bias) {
    nn::LayerSpec with_stride = layer;
    with_stride.stride = layer.stride.value_or(1);
    const Attributes attributes = window(with_stride).integers("dilations", {layer.dilation.h, layer.dilation.w}).integer("group", layer.groups);
    return emit("Conv", layer.bias ? std::vector{x, weight, bias} : std::vector{x, weight}, attributes);
  }

  /// Over the channels, which are the last axis of tern's pictures and not of ONNX's.
  std::string layer_norm(const nn::LayerSpec& layer, const nn::LayerInfo& info, std::string x, const std::string& weight, const std::string& bias) {
    const bool picture = info.input.rank() == 4;
    if (picture) x = emit("Transpose", {x}, Attributes().integers("perm", {0, 2, 3, 1}));
    x = emit("LayerNormalization", {x, weight, bias}, Attributes().integer("axis", -1).number("epsilon", layer.eps.value_or(1e-5)));
    return picture ? emit("Transpose", {x}, Attributes().integers("perm", {0, 3, 1, 2})) : x;
  }

  std::string residual(const nn::LayerSpec& layer, const nn::LayerInfo& info, const std::string& x) {
    const std::string body = sequence(layer.body, x), shortcut = sequence(layer.shortcut, x);
    enter(info.name);
    const std::string sum = emit("Add", {body, shortcut});
    return layer.activation.empty() ? sum : activation(layer.activation, sum);
  }

  std::string activation(const std::string& type, const std::string& x) {
    if (type == "relu") return emit("Relu", {x});
    if (type == "sigmoid") return emit("Sigmoid", {x});
    if (type == "tanh") return emit("Tanh", {x});
    if (type == "silu") return emit("Mul", {x, emit("Sigmoid", {x})});
    if (type == "gelu") return half_of(x, emit("Erf", {emit("Mul", {x, scalar(std::numbers::sqrt2 / 2)})}));
    if (type == "gelu_tanh") {
      const std::string cubic = emit("Mul", {emit("Mul", {emit("Mul", {x, x}), x}), scalar(0.044715)});
      return half_of(x, emit("Tanh", {emit("Mul", {emit("Add", {x, cubic}), scalar(std::sqrt(2 / std::numbers::pi))})}));
    }
    throw ConfigError("layer '" + at_ + "' (" + type + ") has no counterpart in the ONNX export");
  }
  /// x (1 + y) / 2
  std::string half_of(const std::string& x, const std::string& y) {
    return emit("Mul", {emit("Mul", {x, emit("Add", {y, scalar(1)})}), scalar(0.5)});
  }
  std::string scalar(double value) {
    const auto number = static_cast<float>(value);
    return constant("constant_" + std::to_string(constants_++), {}, {&number, 1});
  }

  const std::vector<nn::LayerInfo>& infos_;
  size_t next_ = 0;
  std::string at_;
  int nodes_ = 0, constants_ = 0;
};

/// The input's channels minus mean, over standard deviation.
std::string normalized(Graph& graph, const NormalizeConfig& normalize, std::string x) {
  graph.enter("normalize");
  constexpr int64_t kPerChannel[] = {1, 3, 1, 1};
  const std::vector<float> mean(normalize.mean.begin(), normalize.mean.end()), std(normalize.std.begin(), normalize.std.end());
  x = graph.emit("Sub", {x, graph.constant("normalize.mean", kPerChannel, mean)});
  return graph.emit("Div", {x, graph.constant("normalize.std", kPerChannel, std)});
}

void add_metadata(ProtobufWriter& proto, const OnnxOptions& options) {
  const auto property = [&](std::string_view key, const std::string& value) {
    ProtobufWriter entry;
    entry.bytes(1, key);
    entry.bytes(2, value);
    proto.message(model::kMetadata, entry);
  };
  if (!options.classes.empty()) property("classes", json_text(ordered_json(options.classes)));
  property("mean", json_text(ordered_json(options.normalize.mean)));
  property("std", json_text(ordered_json(options.normalize.std)));
  property("normalization", "inside the graph: the input is pixels / 255, RGB, NCHW");
}

}  // namespace

std::string onnx_model(nn::Network& network, const std::vector<nn::LayerSpec>& layers, const OnnxOptions& options) {
  Graph graph(network.layers());
  graph.proto.bytes(graph::kName, "tern");
  for (const TensorSource& source : nn::weight_sources(network)) {
    if (source.spec.dtype != DType::f32) continue;  // num_batches_tracked
    const std::span<const std::byte> bytes = source.bytes();
    graph.initializer(source.name, source.spec.shape.extents(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  const Shape& picture = network.layers().front().input;
  const int64_t input[] = {picture[3], picture[1], picture[2]};
  graph.proto.message(graph::kInputs, value_info("input", input));
  graph.proto.message(graph::kOutputs, value_info("logits", network.output_shape().extents().subspan(1)));
  const std::string last = graph.sequence(layers, normalized(graph, options.normalize, "input"));
  graph.emit_as("logits", "Identity", {last});

  ProtobufWriter proto, opset;
  opset.bytes(1, "");
  opset.integer(2, kOpset);
  proto.integer(model::kIrVersionField, kIrVersion);
  proto.message(model::kOpsets, opset);
  proto.bytes(model::kProducer, "tern");
  proto.bytes(model::kProducerVersion, version());
  proto.bytes(model::kDoc, options.source);
  proto.message(model::kGraph, graph.proto);
  add_metadata(proto, options);
  if (proto.data().size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    throw Error("the ONNX model takes " + std::to_string(proto.data().size()) + " bytes, over the format's 2 GiB");
  return proto.data();
}

}  // namespace tern
