#pragma once
#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tools/config.h"
#include "tools/nearest.h"
#include "tools/strict_json.h"

/// The machinery under the config's table: a Section is the list of a struct's fields; a field reads, writes, describes
/// and documents one member. Included by the config's own sources and tests only.
namespace tern::config_table {

using nlohmann::json;
using nlohmann::ordered_json;

/// Where a value stands: its path and, through the document, its file and line.
struct Place {
  const StrictJson* document;
  std::string path;
  bool or_null = false;  // null would do as well: fail_type() says so

  Place at(std::string_view key) const { return {document, join_path(path, key)}; }
  /// Throws ConfigError: `FILE:LINE: PATH: WHAT`.
  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void fail_type(const json& got, const std::string& wanted) const;
};

/// Numbers that a field takes; for lists, what each element is.
struct Rule {
  double lo = -std::numeric_limits<double>::infinity(), hi = std::numeric_limits<double>::infinity();
  bool open_lo = false, open_hi = false;

  bool allows(double v) const;  ///< false for NaN
  std::string text() const;     ///< " from 1 to 4096", " above 0", ""
  void describe(ordered_json& schema) const;
};
inline Rule any() { return {}; }
inline Rule range(double lo, double hi) { return {.lo = lo, .hi = hi}; }
inline Rule at_least(double lo) { return {.lo = lo}; }
inline Rule above(double lo, double hi = std::numeric_limits<double>::infinity()) {
  return {.lo = lo, .hi = hi, .open_lo = true};
}
inline Rule between(double lo, double hi) { return {.lo = lo, .hi = hi, .open_lo = true, .open_hi = true}; }
inline Rule from_below(double lo, double hi) { return {.lo = lo, .hi = hi, .open_hi = true}; }  ///< [lo, hi)

/// Names of an enum's values in their order.
template <class E>
struct EnumNames;

/// How a C++ type looks in JSON: read (validated), write, schema, and the words for it.
template <class T>
struct Codec;

/// One line of docs/config.md.
struct DocRow {
  std::string path, type, standard, doc;
};

/// The key of the field that selects which others apply.
inline constexpr std::string_view kVariantKey = "name";

template <class S>
struct Field {
  std::string key, doc, type;
  ordered_json schema;
  std::vector<std::string> variants;                  // values of a "name" field that selects, else empty
  std::vector<std::string> applies_to;                // variants; empty: all
  std::vector<std::pair<std::string, json>> special;  // variant -> its own default
  bool defines_run = true;
  bool needed = false;
  std::function<void(S&, const json&, const Place&)> read;
  std::function<ordered_json(const S&, bool defining)> write;
  std::vector<DocRow> nested;  // paths relative to this field

  /// The field belongs to these values of "name" alone: an error beside another.
  Field only(std::vector<std::string> names) && { return applies_to = std::move(names), std::move(*this); }
  /// Two runs that differ in this field alone are the same run (threads, paths, logs).
  Field free() && { return defines_run = false, std::move(*this); }
  /// The schema's regular expression for a string; check_config() has the same rule.
  Field matching(std::string pattern) && { return schema["pattern"] = std::move(pattern), std::move(*this); }
  /// The key may not be left out.
  Field required() && { return needed = true, std::move(*this); }
  /// Another default where "name" is `name`.
  Field default_for(std::string name, json value) && {
    special.emplace_back(std::move(name), std::move(value));
    return std::move(*this);
  }
  bool applies(const std::string& variant) const {
    return applies_to.empty() || std::find(applies_to.begin(), applies_to.end(), variant) != applies_to.end();
  }
};

template <class S>
class Section {
 public:
  /// `implied`: a variant that the key of the same name selects where "name" is absent ({"layers": [...]}).
  explicit Section(std::vector<Field<S>> fields, std::string implied = {})
      : fields_(std::move(fields)), implied_(std::move(implied)) {}

  void read(S& out, const json& value, const Place& place) const;
  ordered_json write(const S& value, bool defining) const;
  ordered_json schema() const;
  std::vector<DocRow> docs() const;

 private:
  const Field<S>* find(std::string_view key) const;
  std::string variant_of(const S& value) const;
  [[noreturn]] void fail_unknown(const std::string& key, const Place& place) const;
  void add_variant_rules(ordered_json& schema) const;

  std::vector<Field<S>> fields_;
  std::string implied_;
};

/// A field whose value is a number, string, flag, enum, fixed list, or null.
template <class S, class M>
Field<S> field(std::string key, M S::*member, Rule rule, std::string doc) {
  Field<S> f;
  f.key = std::move(key);
  f.doc = std::move(doc);
  f.type = Codec<M>::words(rule);
  f.schema = Codec<M>::schema(rule);
  if constexpr (std::is_enum_v<M>) f.variants.assign(EnumNames<M>::values.begin(), EnumNames<M>::values.end());
  f.read = [=](S& s, const json& v, const Place& at) { s.*member = Codec<M>::read(v, at, rule); };
  f.write = [=](const S& s, bool) { return Codec<M>::write(s.*member); };
  return f;
}

template <class S, class M>
Field<S> field(std::string key, M S::*member, std::string doc) {
  return field(std::move(key), member, Rule{}, std::move(doc));
}

/// A nested object.
template <class S, class M>
Field<S> object(std::string key, M S::*member, const Section<M>& section, std::string doc) {
  Field<S> f;
  f.key = std::move(key);
  f.doc = std::move(doc);
  f.type = "object";
  f.schema = section.schema();
  f.nested = section.docs();
  f.read = [=, &section](S& s, const json& v, const Place& at) { section.read(s.*member, v, at); };
  f.write = [=, &section](const S& s, bool defining) { return section.write(s.*member, defining); };
  return f;
}

/// A nested object or null.
template <class S, class M>
Field<S> object(std::string key, std::optional<M> S::*member, const Section<M>& section, std::string doc) {
  Field<S> f;
  f.key = std::move(key);
  f.doc = std::move(doc);
  f.type = "object or null";
  f.schema = {{"oneOf", {section.schema(), {{"type", "null"}}}}};
  f.nested = section.docs();
  f.read = [=, &section](S& s, const json& v, const Place& at) {
    s.*member = std::nullopt;
    if (!v.is_null()) section.read((s.*member).emplace(), v, at);
  };
  f.write = [=, &section](const S& s, bool defining) {
    return s.*member ? section.write(*(s.*member), defining) : ordered_json();
  };
  return f;
}

enum class ListStyle { list, one_or_list };  ///< one_or_list: a lone object stands for a list of one, at least one

template <class S, class M>
Field<S> list(std::string key, std::vector<M> S::*member, const Section<M>& section, ListStyle style, std::string doc) {
  const bool lone = style == ListStyle::one_or_list;
  Field<S> f;
  f.key = std::move(key);
  f.doc = std::move(doc);
  f.type = lone ? "object or list of objects" : "list of objects";
  const ordered_json items = {{"type", "array"}, {"items", section.schema()}, {"minItems", lone ? 1 : 0}};
  f.schema = lone ? ordered_json{{"oneOf", {section.schema(), items}}} : items;
  f.nested = section.docs();
  f.read = [=, &section](S& s, const json& v, const Place& at) {
    (s.*member).clear();
    if (lone && v.is_object()) return section.read((s.*member).emplace_back(), v, at);
    if (!v.is_array()) at.fail_type(v, lone ? "an object or a list of objects" : "a list of objects");
    if (lone && v.empty()) at.fail("got an empty list, wanted at least one group");
    for (size_t i = 0; i < v.size(); ++i) section.read((s.*member).emplace_back(), v[i], at.at(std::to_string(i)));
  };
  f.write = [=, &section](const S& s, bool defining) {
    if (lone && (s.*member).size() == 1) return section.write((s.*member)[0], defining);
    ordered_json out = ordered_json::array();
    for (const M& m : s.*member) out.push_back(section.write(m, defining));
    return out;
  };
  return f;
}

/// The table itself: every key of a config, see config_table.cpp.
const Section<Config>& config_section();

}  // namespace tern::config_table

#include "tools/config_codecs.h"   // IWYU pragma: export
#include "tools/config_section.h"  // IWYU pragma: export
