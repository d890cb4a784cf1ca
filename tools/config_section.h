#pragma once
// Section's members; included by tools/config_table.h only.

namespace tern::config_table {

template <class S>
const Field<S>* Section<S>::find(std::string_view key) const {
  for (const Field<S>& f : fields_) {
    if (f.key == key) return &f;
  }
  return nullptr;
}

template <class S>
std::string Section<S>::variant_of(const S& value) const {
  const Field<S>* name = find(kVariantKey);
  return name != nullptr ? name->write(value, false).template get<std::string>() : std::string();
}

template <class S>
void Section<S>::read(S& out, const json& value, const Place& place) const {
  if (!value.is_object()) place.fail_type(value, "an object");
  for (const auto& [key, unused] : value.items()) {
    if (find(key) == nullptr) fail_unknown(key, place);
  }
  for (const Field<S>& f : fields_) {
    if (f.needed && !value.contains(f.key)) place.at(f.key).fail("is missing, wanted " + f.type);
  }
  if (value.contains(kVariantKey)) {
    find(kVariantKey)->read(out, value.at(std::string(kVariantKey)), place.at(kVariantKey));
  } else if (!implied_.empty() && value.contains(implied_)) {
    find(kVariantKey)->read(out, implied_, place.at(implied_));
  }
  const std::string variant = variant_of(out);
  for (const Field<S>& f : fields_) {
    for (const auto& [name, standard] : f.special) {
      if (name == variant) f.read(out, standard, place.at(f.key));
    }
    if (f.key == kVariantKey || !value.contains(f.key)) continue;
    if (!f.applies(variant)) {
      std::string names;
      for (const std::string& n : f.applies_to) names += (names.empty() ? "" : ", ") + n;
      place.at(f.key).fail("does not apply to " + join_path(place.path, kVariantKey) + " \"" + variant +
                           "\" (only to: " + names + "); remove it, or replace the whole section with --set '" +
                           place.path + "={\"name\": \"" + variant + "\"}'");
    }
    f.read(out, value.at(f.key), place.at(f.key));
  }
}

template <class S>
ordered_json Section<S>::write(const S& value, bool defining) const {
  ordered_json out = ordered_json::object();
  const std::string variant = variant_of(value);
  for (const Field<S>& f : fields_) {
    if (f.applies(variant) && (f.defines_run || !defining)) out[f.key] = f.write(value, defining);
  }
  return out;
}

template <class S>
void Section<S>::fail_unknown(const std::string& key, const Place& place) const {
  std::vector<std::string> keys;
  for (const Field<S>& f : fields_) keys.push_back(f.key);
  for (const DocRow& row : docs()) {  // the right key at the wrong level
    if (!row.path.ends_with("." + key)) continue;
    place.at(key).fail("unknown key; did you mean \"" + join_path(place.path, row.path) + "\"?");
  }
  if (const std::string near = nearest_name(key, keys); !near.empty()) {
    place.at(key).fail("unknown key; did you mean \"" + near + "\"?");
  }
  std::string known;
  for (const std::string& k : keys) known += (known.empty() ? "" : ", ") + k;
  place.at(key).fail("unknown key; known here: " + known);
}

template <class S>
ordered_json Section<S>::schema() const {
  ordered_json out = {{"type", "object"}, {"additionalProperties", false}, {"properties", ordered_json::object()}};
  const S standard{};
  for (const Field<S>& f : fields_) {
    ordered_json entry = f.schema;
    entry["description"] = f.doc;
    entry["default"] = f.write(standard, false);
    if (f.key == implied_ || f.needed) entry.erase("default");
    if (f.needed) out["required"].push_back(f.key);
    out["properties"][f.key] = std::move(entry);
  }
  add_variant_rules(out);
  return out;
}

/// One if/then a variant: the keys of the others are forbidden, defaults of its own noted.
template <class S>
void Section<S>::add_variant_rules(ordered_json& schema) const {
  const Field<S>* name = find(kVariantKey);
  if (name == nullptr) return;
  ordered_json rules = ordered_json::array();
  for (const std::string& variant : name->variants) {
    ordered_json then = ordered_json::object();
    for (const Field<S>& f : fields_) {
      if (!f.applies(variant)) then[f.key] = false;
      for (const auto& [special, standard] : f.special) {
        if (special == variant) then[f.key] = {{"default", standard}};
      }
    }
    // An absent name means the default variant, or the implied one where its key is there. Assignments, not nested
    // braces: clang 14 leaks the temporaries of those.
    ordered_json condition, named, has_key;
    condition["properties"]["name"]["const"] = variant;
    named["required"].push_back("name");
    has_key["required"].push_back(implied_);
    const bool standard_variant = variant == variant_of(S{});
    if (variant == implied_) {
      condition["anyOf"] = ordered_json::array({named, has_key});
    } else if (!standard_variant) {
      condition.update(named);
    } else if (!implied_.empty()) {
      ordered_json has_not;
      has_not["not"] = has_key;
      condition["anyOf"] = ordered_json::array({named, has_not});
    }
    if (then.empty()) continue;
    ordered_json rule;
    rule["if"] = std::move(condition);
    rule["then"]["properties"] = std::move(then);
    rules.push_back(std::move(rule));
  }
  if (!rules.empty()) schema["allOf"] = std::move(rules);
}

template <class S>
std::vector<DocRow> Section<S>::docs() const {
  std::vector<DocRow> rows;
  const S standard{};
  for (const Field<S>& f : fields_) {
    std::string words = f.key == implied_ || f.needed ? "" : f.write(standard, false).dump();
    if (!f.nested.empty() && words.starts_with("{")) words = "";
    for (const auto& [variant, value] : f.special) words += " (" + variant + ": " + value.dump() + ")";
    std::string doc;
    for (const std::string& n : f.applies_to) doc += (doc.empty() ? "" : ", ") + n;
    if (!doc.empty()) doc += ": ";
    rows.push_back({f.key, f.type, words, doc + f.doc});
    for (DocRow row : f.nested) {
      row.path = join_path(f.type == "list of objects" ? f.key + "[]" : f.key, row.path);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace tern::config_table
