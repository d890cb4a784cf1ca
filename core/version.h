#pragma once
#include <string_view>

namespace tern {

/// The release: "0.1.0".
std::string_view version();

/// `git describe` of the sources that were built, with "-dirty" when they were changed; "unknown" outside a git checkout.
std::string_view git_revision();

}  // namespace tern
