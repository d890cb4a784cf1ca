#pragma once
#include <string>

#include <nlohmann/json.hpp>

namespace tern {

/// JSON for people and files, also of strings from outside that are not UTF-8 (arguments, class names): bad bytes become
/// U+FFFD, where dump() alone would throw. `indent` -1: one line.
template <class Json>
std::string json_text(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tern
