#pragma once
// What reader and writer of safetensors files share: the header's rules and its JSON. Not for other code.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/safetensors.h"

namespace tern::safetensors {

inline constexpr uint64_t kLengthBytes = 8;
inline constexpr uint64_t kMaxHeader = 100'000'000;
inline constexpr std::string_view kMetadataKey = "__metadata__";
inline constexpr std::string_view kChecksumPrefix = "crc32c.";

struct Header {
  std::vector<TensorEntry> entries;  // in the order of their bytes
  Metadata metadata;                 // without the checksums
};

/// Reads and checks the header of a whole file against its size. Throws DataError; `file_name` goes into the message.
Header read_header(std::span<const std::byte> file, const std::string& file_name);

/// The header as it stands in the file: length, JSON, padding. Its tensors lie in the order of `entries`, whose own
/// offsets are not looked at; its length does not depend on the checksums' values. Strings must be UTF-8.
std::string write_header(std::span<const TensorEntry> entries, const Metadata& metadata);

/// A string from a file made fit for a message: in quotes, control characters escaped, cut when long.
std::string in_quotes(std::string_view text);

}  // namespace tern::safetensors
