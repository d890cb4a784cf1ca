#include "tools/config.h"

#include <algorithm>

#include "core/utf8.h"
#include "tools/config_checks.h"
#include "tools/config_table.h"

namespace tern {
namespace {

using config_table::config_section;
using config_table::Place;
using nlohmann::json;

[[noreturn]] void fail_override(const Override& o, const std::string& what) {
  throw ConfigError(o.origin + ": " + what);
}

/// The element of list `at` that `part` names.
json& list_element(json& at, const std::string& part, const std::string& path, const Override& o) {
  size_t index = 0;
  const bool digits = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
  if (digits) index = std::stoul(part);
  if (!digits || index >= at.size()) {
    fail_override(o, path + " is a list of " + std::to_string(at.size()) + ", got \"" + part +
                         "\", wanted an index from 0 to " + std::to_string(at.size()) + " exclusive");
  }
  return at[index];
}

json parse_value(const Override& o) {
  if (!json::accept(o.value)) return o.value;  // `cpu`: a string needs no quotes
  return parse_strict_json(o.value, o.origin).value;
}

void apply_override(StrictJson& document, const Override& o) {
  constexpr std::ptrdiff_t kMaxParts = 32;
  if (std::count(o.path.begin(), o.path.end(), '.') >= kMaxParts) fail_override(o, "a path of more than 32 parts");
  json* at = &document.value;
  std::string path;
  for (size_t begin = 0; begin <= o.path.size();) {
    const size_t dot = std::min(o.path.find('.', begin), o.path.size());
    const std::string part = o.path.substr(begin, dot - begin);
    if (part.empty()) fail_override(o, "got \"" + o.path + "\", wanted a dotted path such as optim.lr");
    if (at->is_array()) {
      at = &list_element(*at, part, path, o);
    } else if (at->is_object() || at->is_null()) {
      at = &(*at)[part];
    } else {
      fail_override(o, path + " is " + at->dump() + ": nothing is below it");
    }
    path = join_path(path, part);
    begin = dot + 1;
  }
  *at = parse_value(o);
  const std::string below = path + ".";
  std::erase_if(document.origins, [&](const auto& entry) { return entry.first.starts_with(below); });
  document.origins[path] = o.origin;
}

Config build(StrictJson document, std::span<const Override> overrides) {
  if (!document.value.is_object()) Place{&document, ""}.fail_type(document.value, "an object");
  for (const Override& o : overrides) apply_override(document, o);
  Config config;
  config_section().read(config, document.value, Place{&document, ""});
  check_config(config, document);
  return config;
}

}  // namespace

Override parse_set(const std::string& argument) {
  const std::string origin = "--set " + argument;
  const size_t equals = argument.find('=');
  if (equals == std::string::npos || equals == 0) throw ConfigError(origin + ": wanted KEY=VALUE, as in optim.lr=0.05");
  if (const auto bad = find_bad_utf8(argument))
    throw ConfigError("--set " + argument.substr(0, *bad) + "...: byte " + std::to_string(*bad) + " is not UTF-8");
  return {argument.substr(0, equals), argument.substr(equals + 1), origin};
}

Config parse_config(std::string_view text, const std::string& source, std::span<const Override> overrides) {
  return build(parse_strict_json(text, source), overrides);
}

Config load_config(const std::string& file, std::span<const Override> overrides) {
  return build(read_strict_json(file), overrides);
}

std::string config_json(const Config& config) { return config_section().write(config, false).dump(2) + "\n"; }

std::optional<Device> parse_device(std::string_view text) {
  if (text == "auto") return std::nullopt;
  if (text == "cpu") return Device{};
  if (text == "cuda") return Device{Device::Kind::cuda, 0};
  constexpr std::string_view kPrefix = "cuda:";
  const std::string_view index = text.starts_with(kPrefix) ? text.substr(kPrefix.size()) : std::string_view();
  const bool digits = index.find_first_not_of("0123456789") == std::string_view::npos;
  if (index.empty() || index.size() > 3 || !digits) {
    throw ConfigError("got device \"" + std::string(text) + "\", wanted auto, cpu, cuda or cuda:i");
  }
  return Device{Device::Kind::cuda, std::stoi(std::string(index))};
}

Precision resolve_precision(Precision precision, Device device) {
  const bool cuda = device.kind == Device::Kind::cuda;
  if (precision == Precision::automatic) return cuda ? Precision::fp16 : Precision::fp32;
  if (!cuda && precision != Precision::fp32) {
    throw ConfigError("precision " + std::string(name_of(precision)) + " needs CUDA, the device is " + device.str() +
                      ": use fp32 or auto");
  }
  return precision;
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
  for (size_t begin = 0; begin <= pattern.size();) {
    const size_t bar = std::min(pattern.find('|', begin), pattern.size());
    const std::string_view glob = pattern.substr(begin, bar - begin);
    size_t g = 0, n = 0, star = std::string_view::npos, resume = 0;
    while (n < name.size()) {
      if (g < glob.size() && glob[g] == '*') {
        star = g++;
        resume = n;
      } else if (g < glob.size() && (glob[g] == '?' || glob[g] == name[n])) {
        ++g, ++n;
      } else if (star != std::string_view::npos) {  // let the last star take one more character
        g = star + 1;
        n = ++resume;
      } else {
        break;
      }
    }
    while (g < glob.size() && glob[g] == '*') ++g;
    if (n == name.size() && g == glob.size()) return true;
    begin = bar + 1;
  }
  return false;
}

std::string_view name_of(ModelName v) { return config_table::enum_name(v); }
std::string_view name_of(InitScheme v) { return config_table::enum_name(v); }
std::string_view name_of(PictureFit v) { return config_table::enum_name(v); }
std::string_view name_of(DataName v) { return config_table::enum_name(v); }
std::string_view name_of(AugmentName v) { return config_table::enum_name(v); }
std::string_view name_of(PadMode v) { return config_table::enum_name(v); }
std::string_view name_of(LossSum v) { return config_table::enum_name(v); }
std::string_view name_of(TtaName v) { return config_table::enum_name(v); }
std::string_view name_of(OptimName v) { return config_table::enum_name(v); }
std::string_view name_of(ScheduleName v) { return config_table::enum_name(v); }
std::string_view name_of(Anneal v) { return config_table::enum_name(v); }
std::string_view name_of(Precision v) { return config_table::enum_name(v); }
std::string_view name_of(Metric v) { return config_table::enum_name(v); }

}  // namespace tern
