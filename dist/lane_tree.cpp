#include "dist/lane_tree.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/lanes.h"

namespace tern::dist {
namespace {

void collect(LaneRange node, LaneRange wanted, std::vector<LaneRange>& found) {
  const int first = std::max(node.first, wanted.first), end = std::min(node.end(), wanted.end());
  if (first >= end) return;
  if (node.first >= wanted.first && node.end() <= wanted.end()) {
    found.push_back(node);
    return;
  }
  const int split = static_cast<int>(tree_split(node.count));
  collect({node.first, split}, wanted, found);
  collect({node.first + split, node.count - split}, wanted, found);
}

/// Collects the additions below `node` and returns where its sum is; `next` is the first node that has not been used.
int add_up(LaneRange node, std::span<const LaneRange> nodes, size_t& next, std::vector<Addition>& additions) {
  if (next < nodes.size() && nodes[next] == node) return static_cast<int>(next++);
  if (node.count <= 1)
    throw ShapeError("[sum_nodes] lane " + std::to_string(node.first) + " is missing or not in a node of the canonical tree");
  const int split = static_cast<int>(tree_split(node.count));
  const int left = add_up({node.first, split}, nodes, next, additions);
  const int right = add_up({node.first + split, node.count - split}, nodes, next, additions);
  additions.push_back({left, right});
  return left;
}

}  // namespace

std::vector<LaneRange> share_lanes(int lanes, int parties) {
  std::vector<LaneRange> shares;
  int first = 0;
  for (int i = 0; i < parties; ++i) {
    const int count = lanes / parties + (i < lanes % parties ? 1 : 0);
    shares.push_back({first, count});
    first += count;
  }
  return shares;
}

std::vector<LaneRange> canonical_nodes(int lanes, LaneRange range) {
  std::vector<LaneRange> nodes;
  collect({0, lanes}, range, nodes);
  return nodes;
}

std::vector<Addition> tree_additions(int lanes, std::span<const LaneRange> nodes) {
  std::vector<Addition> additions;
  size_t next = 0;
  add_up({0, lanes}, nodes, next, additions);
  if (next != nodes.size()) throw ShapeError("[sum_nodes] nodes are left over");
  return additions;
}

float* sum_nodes(int lanes, std::span<const LaneRange> nodes, std::span<float* const> values, int64_t length) {
  for (const Addition& add : tree_additions(lanes, nodes)) {
    float* into = values[static_cast<size_t>(add.into)];
    const float* from = values[static_cast<size_t>(add.from)];
    for (int64_t i = 0; i < length; ++i) into[i] += from[i];
  }
  return values[0];
}

}  // namespace tern::dist
