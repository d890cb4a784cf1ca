#pragma once
#include <cstdint>
#include <span>
#include <vector>

/// The canonical tree over the lanes of a step (core/lanes.h), when its parts are computed in several places.
namespace tern::dist {

/// Lanes [first, first + count).
struct LaneRange {
  int first = 0, count = 0;
  int end() const { return first + count; }
  bool operator==(const LaneRange&) const = default;
};

/// Cuts `lanes` lanes into `parties` runs in order, as equal as can be, the longer ones first; where there are more
/// parties than lanes the last get none.
std::vector<LaneRange> share_lanes(int lanes, int parties);

/// The fewest nodes of the tree over `lanes` leaves that make up `range`, in order.
std::vector<LaneRange> canonical_nodes(int lanes, LaneRange range);

/// One addition of two nodes' values, by their place in the list of nodes: into += from.
struct Addition {
  int into = 0, from = 0;
};

/// The additions of the tree over `lanes` leaves, in an order in which they can be made; the sum is then in the first
/// node's. Nodes are in order and make up all lanes. Throws ShapeError where they are not such a cut of the tree.
std::vector<Addition> tree_additions(int lanes, std::span<const LaneRange> nodes);

/// Adds the nodes' vectors as the tree over `lanes` leaves does. Nodes are in order and make up all lanes; `values` holds
/// `length` floats a node, which serve as scratch. Returns where the sum is: in the first node's. Elements are
/// independent: callers may cut the length among threads.
/// Throws ShapeError where the nodes are not such a cut of the tree.
float* sum_nodes(int lanes, std::span<const LaneRange> nodes, std::span<float* const> values, int64_t length);

}  // namespace tern::dist
