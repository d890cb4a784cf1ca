#include "nn/safetensors.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <tuple>

#include "core/crc32c.h"
#include "core/error.h"
#include "core/utf8.h"
#include "nn/safetensors_header.h"

namespace tern {
namespace {

using safetensors::in_quotes;

std::string hex(uint32_t value) {
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", value);
  return digits;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
  throw ConfigError("[write_safetensors] " + path.string() + ": " + what);
}

void check_strings(const std::filesystem::path& path, std::span<const TensorSource> tensors, const Metadata& metadata) {
  const auto check_utf8 = [&](const std::string& text, const char* what) {
    if (find_bad_utf8(text)) refuse(path, std::string(what) + " " + in_quotes(text) + " is not UTF-8");
  };
  std::vector<std::string_view> names;
  for (const TensorSource& tensor : tensors) {
    check_utf8(tensor.name, "tensor name");
    if (tensor.name == safetensors::kMetadataKey) refuse(path, "a tensor cannot be named __metadata__");
    names.push_back(tensor.name);
  }
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end())
    refuse(path, "two tensors are named " + in_quotes(*twice));
  for (const auto& [key, value] : metadata) {
    check_utf8(key, "metadata key");
    check_utf8(value, "metadata value");
    if (key.starts_with(safetensors::kChecksumPrefix))
      refuse(path, "metadata key " + in_quotes(key) + " is reserved for checksums");
  }
}

/// The order of the tensors in the file: aligned without padding, and the same for the same content.
std::vector<const TensorSource*> file_order(std::span<const TensorSource> tensors) {
  std::vector<const TensorSource*> order;
  for (const TensorSource& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, [](const TensorSource* a, const TensorSource* b) {
    const size_t size_a = size_of(a->spec.dtype), size_b = size_of(b->spec.dtype);
    return std::tie(size_b, a->name) < std::tie(size_a, b->name);
  });
  return order;
}

/// Compares the file on the disk with what was meant, every tensor's checksum included.
void check_written(const AtomicFile& file, std::span<const TensorEntry> entries, const Metadata& metadata) {
  const SafetensorsFile copy = SafetensorsFile::open(file.temporary());
  bool same = std::ranges::equal(copy.entries(), entries, [](const TensorEntry& a, const TensorEntry& b) {
    return a.name == b.name && a.spec == b.spec && a.crc32c == b.crc32c;
  });
  same = same && copy.metadata() == metadata;
  for (const TensorEntry& entry : copy.entries()) copy.bytes(entry);
  if (!same) throw DataError(copy.name() + ": header differs from what was written");
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::span<const std::byte> file, std::string name)
    : name_(std::move(name)), file_(file) {
  safetensors::Header header = safetensors::read_header(file, name_);
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);
  by_name_.resize(entries_.size());
  std::iota(by_name_.begin(), by_name_.end(), size_t{0});
  std::ranges::sort(by_name_, {}, [&](size_t i) -> const std::string& { return entries_[i].name; });
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto mapping = std::make_shared<const MappedFile>(path);
  SafetensorsFile file(mapping->bytes(), path.string());
  file.mapping_ = std::move(mapping);
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, std::string name) {
  return SafetensorsFile(bytes, std::move(name));
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto at =
      std::ranges::lower_bound(by_name_, name, {}, [&](size_t i) -> std::string_view { return entries_[i].name; });
  return at != by_name_.end() && entries_[*at].name == name ? &entries_[*at] : nullptr;
}

const TensorEntry& SafetensorsFile::at(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return *entry;
  throw DataError(name_ + ": has no tensor " + in_quotes(name) + " among its " + std::to_string(entries_.size()));
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& entry) const {
  const auto data = file_.subspan(static_cast<size_t>(entry.offset), entry.spec.bytes());
  if (entry.crc32c) {
    if (const uint32_t got = crc32c(data); got != *entry.crc32c)
      throw DataError(name_ + ": tensor " + in_quotes(entry.name) + ": bytes " + std::to_string(entry.offset) + " to " +
                      std::to_string(entry.offset + data.size()) + " have checksum " + hex(got) + ", wanted " +
                      hex(*entry.crc32c));
  }
  return data;
}

TensorSource tensor_source(std::string name, Spec spec, std::span<const std::byte> bytes) {
  return {std::move(name), std::move(spec), [bytes] { return bytes; }};
}

TensorSource tensor_source(std::string name, const Tensor& tensor) {
  auto buffer = std::make_shared<std::vector<std::byte>>();
  return {std::move(name), tensor.spec(), [tensor, buffer]() -> std::span<const std::byte> {
            buffer->resize(tensor.bytes());
            tensor.read_bytes(buffer->data());
            return *buffer;
          }};
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                       const Metadata& metadata, AtomicFileOptions options) {
  check_strings(path, tensors, metadata);
  const std::vector<const TensorSource*> order = file_order(tensors);
  std::vector<TensorEntry> entries;
  for (const TensorSource* tensor : order) entries.push_back({tensor->name, tensor->spec, 0, std::nullopt});

  // The header holds the tensors' checksums: a first one keeps its place while they are written and summed.
  const std::string placeholder = safetensors::write_header(entries, metadata);
  if (placeholder.size() - safetensors::kLengthBytes > safetensors::kMaxHeader)
    refuse(path, "header of " + std::to_string(placeholder.size()) + " bytes is too long");
  AtomicFile file(path, options);
  file.write(std::as_bytes(std::span(placeholder)));
  for (size_t i = 0; i < order.size(); ++i) {
    const std::span<const std::byte> bytes = order[i]->bytes();
    if (bytes.size() != order[i]->spec.bytes())
      refuse(path, "tensor " + in_quotes(order[i]->name) + ": source gave " + std::to_string(bytes.size()) +
                       " bytes, but " + order[i]->spec.str() + " takes " + std::to_string(order[i]->spec.bytes()));
    entries[i].crc32c = crc32c(bytes);
    file.write(bytes);
  }
  const std::string header = safetensors::write_header(entries, metadata);
  file.write_at(0, std::as_bytes(std::span(header)));
  file.sync();
  if (options.durable) {
    try {
      check_written(file, entries, metadata);
    } catch (const DataError& error) {
      throw Error("[write] " + path.string() + ": what was written does not read back: " + error.what());
    }
  }
  file.commit();
}

}  // namespace tern
