#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "tools/config.h"

namespace tern {

/// What recipes are compared by beside their results, from a run's config and its `network` (of run_json; may be null):
/// `first_filters` (of the first convolution), `widest` (most filters of any), `effective_batch` (pictures a step), `parameters`,
/// `flops` (of a picture's forward pass). Where a global average pooling stands in front of linear layers also `head` (their
/// parameters), `flat_head` (what they would have if the pooled picture were flattened instead) and `saved` (the share of flat_head
/// that pooling saves). What a network does not have is null.
nlohmann::ordered_json network_facts(const nlohmann::ordered_json& network, const Config& config);

/// [[key, title], ...] in the order in which they are shown; the last one, `saved`, is a share, the others are counts.
nlohmann::ordered_json network_fact_titles();

/// The facts of runs as a table: a line a fact, a column a run (`runs` have `name` and `facts`), and the first beside the last.
std::string network_facts_text(const nlohmann::ordered_json& runs);

}  // namespace tern
