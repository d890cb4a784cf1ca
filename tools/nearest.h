#pragma once
#include <span>
#include <string>
#include <string_view>

namespace tern {

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours cost 1 each.
int edit_distance(std::string_view a, std::string_view b);

/// The candidate closest to `name`, or an empty string where none is close enough to be what was meant
/// (at most 2 edits, or a third of the name; case does not count).
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace tern
