#include <algorithm>
#include <map>

#include "tools/config_table.h"

namespace tern {
namespace {

using nlohmann::json;

bool depends_on_length(const ScheduleConfig& s) {
  switch (s.name) {
    case ScheduleName::onecycle: return true;
    case ScheduleName::cosine:
    case ScheduleName::linear: return !s.decay_epochs;
    case ScheduleName::step:
    case ScheduleName::constant: break;
  }
  return false;
}

json definition(const Config& config) {
  json out = config_table::config_section().write(config, true);
  const bool shaped = std::any_of(config.optim.begin(), config.optim.end(), [&](const OptimConfig& group) {
    return depends_on_length(group.schedule ? *group.schedule : config.schedule);
  });
  if (!shaped) out["train"].erase("epochs");
  std::erase_if(out.get_ref<json::object_t&>(), [](const auto& entry) { return entry.second.empty(); });
  return out;
}

/// Leaves of `value` by dotted path.
void flatten(const json& value, const std::string& path, std::map<std::string, std::string>& out) {
  if (!value.is_structured() || value.empty()) {
    out[path] = value.dump();
    return;
  }
  for (const auto& [key, child] : value.items()) flatten(child, join_path(path, key), out);
}

}  // namespace

std::string defining_json(const Config& config) { return definition(config).dump(); }

std::vector<ConfigDifference> defining_differences(const std::string& stored, const Config& config) {
  std::map<std::string, std::string> old_leaves, new_leaves;
  try {
    const StrictJson document = parse_strict_json(stored, "the checkpoint's definition");
    Config before;
    config_table::config_section().read(before, document.value, {&document, ""});
    flatten(definition(before), "", old_leaves);
  } catch (const ConfigError& e) {
    throw DataError(e.what());
  }
  flatten(definition(config), "", new_leaves);
  std::vector<ConfigDifference> out;
  for (const auto& [path, value] : old_leaves) {
    const auto it = new_leaves.find(path);
    const std::string other = it == new_leaves.end() ? "(absent)" : it->second;
    if (other != value) out.push_back({path, value, other});
  }
  for (const auto& [path, value] : new_leaves) {
    if (!old_leaves.contains(path)) out.push_back({path, "(absent)", value});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return out;
}

}  // namespace tern
