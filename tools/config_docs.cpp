#include "tools/config_table.h"

namespace tern {

using config_table::config_section;
using config_table::DocRow;
using nlohmann::ordered_json;

std::string config_schema() {
  ordered_json out = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "tern training config"}};
  out.update(config_section().schema());
  return out.dump(2) + "\n";
}

std::string config_markdown() {
  std::string out =
      "# Config\n\n"
      "Generated from the table in tools/config_table.cpp; a test compares the two. JSON, read strictly: an unknown\n"
      "key, a key twice or a value out of range is an error that names path, line and what was wanted. Every key may\n"
      "be left out. `trainer CONFIG --print-config` shows a config with all defaults, `trainer --print-schema` the\n"
      "JSON Schema; `--set optim.lr=0.05` sets one value. A word before a colon says for which `name` a key exists.\n";
  const auto escape = [](std::string text) {
    for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
    return text;
  };
  for (const DocRow& row : config_section().docs()) {
    if (row.path.find('.') == std::string::npos) {
      out += "\n## " + row.path + "\n\n" + row.doc + "\n\n| key | value | default | meaning |\n|---|---|---|---|\n";
      continue;
    }
    if (row.path.starts_with("optim.schedule.")) continue;  // the same keys as `schedule`
    const std::string standard = row.standard.empty() ? "" : "`" + row.standard + "`";
    out += "| `" + escape(row.path) + "` | " + escape(row.type) + " | " + escape(standard) + " | " + escape(row.doc) +
           " |\n";
  }
  return out;
}

}  // namespace tern
