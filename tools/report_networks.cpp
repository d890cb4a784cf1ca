#include "tools/report_networks.h"

#include <algorithm>
#include <iterator>

#include "tools/format.h"

namespace tern {
namespace {

using nlohmann::ordered_json;

int64_t product(const ordered_json& extents) {
  int64_t all = 1;
  for (const ordered_json& extent : extents) all *= extent.get<int64_t>();
  return all;
}

/// head, flat_head and saved of a network whose outermost layers pool a picture and end in linear ones.
void add_head(const ordered_json& layers, ordered_json& facts) {
  std::vector<const ordered_json*> outer;
  for (const ordered_json& layer : layers)
    if (layer["depth"] == 0) outer.push_back(&layer);
  const auto is = [](const char* type) { return [type](const ordered_json* layer) { return (*layer)["type"] == type; }; };
  const auto pool = std::ranges::find_if(outer, is("global_avg_pool"));
  const auto first = std::find_if(pool, outer.end(), is("linear"));
  if (pool == outer.begin() || first == outer.end()) return;
  int64_t head = 0;
  for (const ordered_json* layer : outer)
    if ((*layer)["type"] == "linear") head += (*layer)["parameters"].get<int64_t>();
  const int64_t picture = product((**std::prev(pool))["output"]), pooled = product((**pool)["output"]), features = product((**first)["output"]);
  const int64_t flat = head + (picture - pooled) * features;
  facts["head"] = head;
  facts["flat_head"] = flat;
  facts["saved"] = 1 - static_cast<double>(head) / static_cast<double>(flat);
}

}  // namespace

ordered_json network_facts(const ordered_json& network, const Config& config) {
  ordered_json facts = {{"first_filters", nullptr}, {"widest", nullptr}, {"effective_batch", int64_t{config.train.micro_batch} * config.train.lanes},
                        {"parameters", nullptr}, {"flops", nullptr}, {"head", nullptr}, {"flat_head", nullptr}, {"saved", nullptr}};
  if (!network.is_object()) return facts;
  facts["parameters"] = network["parameters"];
  facts["flops"] = network["flops"];
  for (const ordered_json& layer : network["layers"]) {
    if (layer["type"] != "conv2d") continue;
    const int64_t filters = layer["output"].back().get<int64_t>();
    if (facts["first_filters"].is_null()) facts["first_filters"] = filters;
    facts["widest"] = facts["widest"].is_null() ? filters : std::max(facts["widest"].get<int64_t>(), filters);
  }
  add_head(network["layers"], facts);
  return facts;
}

ordered_json network_fact_titles() {
  return ordered_json::array({{"first_filters", "first-layer filters"}, {"widest", "most filters of a layer"}, {"effective_batch", "effective batch"},
          {"parameters", "parameters"}, {"flops", "FLOP a picture, forward"}, {"head", "head: parameters of its linear layers"},
          {"flat_head", "head, if flattened instead of pooled"}, {"saved", "saved by pooling, % of that"}});
}

std::string network_facts_text(const ordered_json& runs) {
  std::string text = format("%-38s", "");
  size_t width = 12;
  for (const ordered_json& run : runs) width = std::max(width, run["name"].get<std::string>().size());
  const auto cell = [&](const std::string& value) { return std::string(2 + width - std::min(width, value.size()), ' ') + value; };
  for (const ordered_json& run : runs) text += cell(run["name"].get<std::string>());
  text += runs.size() > 1 ? "  first : last\n" : "\n";
  for (const ordered_json& line : network_fact_titles()) {
    const std::string key = line[0];
    const bool share = key == "saved";
    text += format("%-38s", line[1].get<std::string>().c_str());
    for (const ordered_json& run : runs) {
      const ordered_json& value = run["facts"][key];
      text += cell(value.is_null() ? "-" : share ? format("%.1f", 100 * value.get<double>()) : std::to_string(value.get<int64_t>()));
    }
    const ordered_json &first = runs.front()["facts"][key], &last = runs.back()["facts"][key];
    if (runs.size() > 1 && !share && first.is_number() && last.is_number() && last.get<double>() > 0)
      text += format("  %.4g (%+.1f %%)", first.get<double>() / last.get<double>(), 100 * (first.get<double>() / last.get<double>() - 1));
    text += "\n";
  }
  return text;
}

}  // namespace tern
