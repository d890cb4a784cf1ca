#pragma once
#include <cstddef>
#include <optional>
#include <string_view>

namespace tern {

/// Position of the first byte that is not part of well-formed UTF-8, if any. Ref: Unicode 15, table 3-7.
std::optional<size_t> find_bad_utf8(std::string_view text);

}  // namespace tern
