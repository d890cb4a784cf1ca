#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/atomic_file.h"
#include "core/mapped_file.h"
#include "core/shape.h"
#include "core/tensor.h"

namespace tern {

/// One tensor of a safetensors file.
struct TensorEntry {
  std::string name;
  Spec spec;
  uint64_t offset = 0;             ///< of its first byte, from the start of the file
  std::optional<uint32_t> crc32c;  ///< of its bytes, when the file tells it
};

using Metadata = std::map<std::string, std::string>;

/// A safetensors file opened for reading: an 8-byte little-endian header length, a JSON header, the tensors' bytes.
///
/// Opening checks the whole header and reads no tensor. Nothing is allocated on the header's word: memory grows with
/// the header's real bytes only. Every refusal is a DataError that names the file, the tensor, and what was got and
/// wanted. Element types: F64 F32 F16 BF16 I64 I32 U8.
///
/// Files written by tern carry a checksum per tensor in `__metadata__` ("crc32c.NAME": 8 hexadecimal digits), which
/// other readers ignore; bytes() compares it.
/// Ref: https://huggingface.co/docs/safetensors (format).
class SafetensorsFile {
 public:
  /// Maps the file. Throws DataError.
  static SafetensorsFile open(const std::filesystem::path& path);
  /// Reads from memory, which must outlive the result; `name` stands for the file in messages. Throws DataError.
  static SafetensorsFile parse(std::span<const std::byte> bytes, std::string name = "memory");

  /// All tensors in the order of their bytes.
  std::span<const TensorEntry> entries() const { return entries_; }
  /// The tensor of that name, or null.
  const TensorEntry* find(std::string_view name) const;
  /// The same; throws DataError when it is absent.
  const TensorEntry& at(std::string_view name) const;
  /// `__metadata__` without the checksums.
  const Metadata& metadata() const { return metadata_; }

  /// The tensor's bytes: row-major, little-endian, not necessarily aligned. They live as long as this object (or the
  /// memory given to parse). `entry` is one of entries(). Throws DataError when its checksum does not fit.
  std::span<const std::byte> bytes(const TensorEntry& entry) const;

  const std::string& name() const { return name_; }

 private:
  SafetensorsFile(std::span<const std::byte> file, std::string name);

  std::string name_;
  std::shared_ptr<const MappedFile> mapping_;  // null for parse()
  std::span<const std::byte> file_;
  std::vector<TensorEntry> entries_;
  std::vector<size_t> by_name_;  // indices into entries_, sorted by name
  Metadata metadata_;
};

/// A tensor to be written. `bytes` is called once, when its turn comes, and its result is used before the next call to
/// any source: sources may share one buffer for a changed layout, and weights are never copied as a whole.
struct TensorSource {
  std::string name;
  Spec spec;
  std::function<std::span<const std::byte>()> bytes;
};

/// A source for bytes that lie ready, row-major.
TensorSource tensor_source(std::string name, Spec spec, std::span<const std::byte> bytes);
/// A source for a tensor on any device, read when its turn comes.
TensorSource tensor_source(std::string name, const Tensor& tensor);

/// Writes a safetensors file atomically and durably (see AtomicFile); a durable one is read back and compared before it
/// gets its name. Tensors are ordered by element size, largest first, then by name, so that each is aligned and equal
/// content gives equal bytes; the header is padded with spaces to 8 bytes.
///
/// Throws ConfigError for what no file can hold (two tensors of one name, a name or metadata that is not UTF-8 or is
/// reserved, a source whose byte count is not that of its spec); Error naming the path and the reason when writing
/// fails. The old file is then still there.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                       const Metadata& metadata = {}, AtomicFileOptions options = {});

}  // namespace tern
