#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tern {

/// A JSON document that remembers where each value stands. Paths are dotted: `optim.0.lr`; the root is "".
struct StrictJson {
  nlohmann::json value;
  std::string source;                          ///< file name, for messages
  std::map<std::string, std::string> origins;  ///< path -> `FILE:LINE`, or the argument that set the value

  /// Where `path`, or the nearest parent that was written down, comes from.
  const std::string& origin(std::string_view path) const;
};

/// Parses RFC 8259 JSON and nothing looser. Throws ConfigError naming source, line and column for: text that is not
/// UTF-8, NUL bytes, comments, NaN, numbers beyond double, a key that occurs twice in one object, anything
/// after the document; and, so that hostile input stays cheap, nesting deeper than 32, keys over 100 bytes, more than
/// 20,000 values, more than 1 MiB.
StrictJson parse_strict_json(std::string_view text, const std::string& source);

/// Reads and parses `file`; a file that cannot be read is a ConfigError too.
StrictJson read_strict_json(const std::string& file);

/// `parent.key`, or `key` at the root.
std::string join_path(std::string_view parent, std::string_view key);

}  // namespace tern
