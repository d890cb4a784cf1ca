#include "nn/weights.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "core/error.h"

namespace tern::nn {
namespace {

/// A tensor of the network with what its place in a file looks like.
struct Stored {
  std::string name;
  Tensor* tensor;
  bool filter;  // KRSC here, OIHW in the file

  Spec file_spec() const {
    const Shape& s = tensor->shape();
    return {tensor->dtype(), filter ? Shape{s[0], s[3], s[1], s[2]} : s};
  }
};

std::vector<Stored> stored_tensors(Module& network) {
  std::vector<Stored> stored;
  for (const Parameter& p : network.parameters()) stored.push_back({p.name, p.tensor, p.kind == ParamKind::conv_weight});
  for (const Buffer& b : network.buffers()) stored.push_back({b.name, b.tensor, false});
  return stored;
}

/// Calls copy(index in KRSC, index in OIHW) for every element of a filter of shape [K, R, S, C].
template <class Copy>
void for_filter(const Shape& krsc, const Copy& copy) {
  const int64_t window = krsc[1] * krsc[2], channels = krsc[3];
  for (int64_t k = 0; k < krsc[0]; ++k)
    for (int64_t rs = 0; rs < window; ++rs)
      for (int64_t c = 0; c < channels; ++c) copy((k * window + rs) * channels + c, (k * channels + c) * window + rs);
}

/// The file's elements as f32, in the file's layout.
std::vector<float> read_floats(const TensorEntry& entry, std::span<const std::byte> bytes) {
  std::vector<float> values(static_cast<size_t>(entry.spec.numel()));
  dispatch_floating(entry.name, entry.spec.dtype, [&](auto t) {
    using T = decltype(t);
    for (size_t i = 0; i < values.size(); ++i) {
      T value;
      std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
      values[i] = static_cast<float>(value);
    }
  });
  return values;
}

void load_tensor(const Stored& stored, const TensorEntry& entry, std::span<const std::byte> bytes) {
  Tensor& tensor = *stored.tensor;
  if (tensor.dtype() != DType::f32) {
    tensor.write_bytes(bytes.data());
    return;
  }
  std::vector<float> values = read_floats(entry, bytes);
  if (stored.filter) {
    const std::vector<float> oihw_values = values;
    for_filter(tensor.shape(), [&](int64_t krsc, int64_t oihw) {
      values[static_cast<size_t>(krsc)] = oihw_values[static_cast<size_t>(oihw)];
    });
  }
  tensor.write(std::span<const float>(values));
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 8; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 8) text += " and " + std::to_string(names.size() - 8) + " more";
  return text;
}

/// Every difference between file and network, before anything is written.
void check_fit(const std::vector<Stored>& stored, const SafetensorsFile& file, const std::vector<std::string>& ignored) {
  std::vector<std::string> missing, unexpected;
  std::map<std::string, bool> known;
  for (const Stored& s : stored) {
    known[s.name] = true;
    const TensorEntry* entry = file.find(s.name);
    if (!entry) {
      missing.push_back(s.name);
      continue;
    }
    const Spec want = s.file_spec();
    const bool convertible = is_floating(want.dtype) && is_floating(entry->spec.dtype);
    if (entry->spec.shape != want.shape || (!convertible && entry->spec.dtype != want.dtype))
      throw DataError(file.name() + ": tensor '" + s.name + "' is " + entry->spec.str() + ", the network wants " + want.str());
  }
  for (const TensorEntry& entry : file.entries()) {
    const bool skip = std::ranges::any_of(ignored, [&](const std::string& prefix) { return entry.name.starts_with(prefix); });
    if (!skip && !known.contains(entry.name)) unexpected.push_back(entry.name);
  }
  if (missing.empty() && unexpected.empty()) return;
  std::string what = file.name() + ": weights of another network:";
  if (!missing.empty()) what += " missing " + list(missing);
  if (!unexpected.empty()) what += std::string(missing.empty() ? "" : ";") + " unexpected " + list(unexpected);
  throw DataError(what);
}

}  // namespace

std::vector<TensorSource> weight_sources(Module& network) {
  std::vector<TensorSource> sources;
  auto buffer = std::make_shared<std::vector<float>>();  // one filter at a time, shared by all sources
  for (const Stored& s : stored_tensors(network)) {
    if (!s.filter) {
      sources.push_back(tensor_source(s.name, *s.tensor));
      continue;
    }
    sources.push_back({s.name, s.file_spec(), [s, buffer]() -> std::span<const std::byte> {
                         const std::vector<float> data = s.tensor->to_vector<float>();
                         buffer->resize(data.size());
                         for_filter(s.tensor->shape(), [&](int64_t krsc, int64_t oihw) {
                           (*buffer)[static_cast<size_t>(oihw)] = data[static_cast<size_t>(krsc)];
                         });
                         return std::as_bytes(std::span<const float>(*buffer));
                       }});
  }
  return sources;
}

void load_weights(Module& network, const SafetensorsFile& file, const std::vector<std::string>& ignored) {
  const std::vector<Stored> stored = stored_tensors(network);
  check_fit(stored, file, ignored);
  // Checksums of all tensors before the first one is copied: a damaged file changes nothing.
  for (const Stored& s : stored) file.bytes(file.at(s.name));
  for (const Stored& s : stored) {
    const TensorEntry& entry = file.at(s.name);
    load_tensor(s, entry, file.bytes(entry));
  }
}

}  // namespace tern::nn
