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

/// Sums node by node; `next` is the first that has not been used.
float* sum(LaneRange node, std::span<const LaneRange> nodes, std::span<float* const> values, int64_t length, size_t& next) {
  if (next < nodes.size() && nodes[next] == node) return values[next++];
  if (node.count <= 1)
    throw ShapeError("[sum_nodes] lane " + std::to_string(node.first) + " is missing or not in a node of the canonical tree");
  const int split = static_cast<int>(tree_split(node.count));
  float* left = sum({node.first, split}, nodes, values, length, next);
  const float* right = sum({node.first + split, node.count - split}, nodes, values, length, next);
  for (int64_t i = 0; i < length; ++i) left[i] += right[i];
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

float* sum_nodes(int lanes, std::span<const LaneRange> nodes, std::span<float* const> values, int64_t length) {
  size_t next = 0;
  float* result = sum({0, lanes}, nodes, values, length, next);
  if (next != nodes.size()) throw ShapeError("[sum_nodes] nodes are left over");
  return result;
}

}  // namespace tern::dist
