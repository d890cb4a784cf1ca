#pragma once
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dist/residuals.h"
#include "dist/server_core.h"

/// A training that is nothing but arithmetic: every gradient depends on every bit of the parameters, and sums of floats of
/// very different sizes on their order, so that whatever goes wrong shows in the final parameters.
namespace tern::dist::sim {

using Floats = std::vector<float>;
using Body = std::shared_ptr<std::vector<std::byte>>;

struct Toy {
  uint64_t seed = 0;
  Mode mode = Mode::bsp;
  int lanes = 1;
  int parameters = 1;
  int64_t tasks = 1;           ///< steps, or in mode epoch epochs
  int64_t tasks_an_epoch = 1;  ///< the last of which has fewer lanes
  uint32_t steps = 1;          ///< whose gradients are added in one task: mode epoch
  int ragged = 0;              ///< lanes that an epoch's last task lacks
  int top_k = 0;               ///< Wire::topk: entries that a lane sends; 0: another wire ...
  int64_t whole_every = 1;     ///< ... which in every so manieth task sends all

  bool exact() const { return mode == Mode::bsp || mode == Mode::epoch; }
  /// Wire::topk: nothing is held back over a checkpoint, over a task that lacks lanes, or at the end.
  bool whole(int64_t task) const;
  int lanes_of(int64_t task) const { return (task + 1) % tasks_an_epoch == 0 ? lanes - ragged : lanes; }
  Floats initial() const;
  Task task(int64_t number) const;
  /// Gradient of one lane in one step.
  Floats gradient(int64_t task, uint32_t step, int lane, const Floats& parameters) const;
  /// What a worker sends for a node: a number for each lane, and the node's sum.
  Body body(int64_t task, LaneRange range, const Floats& parameters) const;
  /// The same of a single lane with Wire::topk.
  Body sparse_body(const LaneStep& at, const Floats& parameters, Residuals& residuals) const;
  uint64_t body_bytes(int64_t task, LaneRange range) const;
  bool well_formed(int64_t task, Bytes body) const;
  /// The gradient in a body.
  Floats read(int64_t task, Bytes body) const;
  /// The sum of nodes' gradients in the canonical tree; `values` serve as scratch.
  Floats sum(int64_t task, std::span<const LaneRange> ranges, std::span<Floats> values) const;
  /// The gradient of a task as one process computes it; with Wire::topk without what the `dropped` lanes held back.
  Floats step(int64_t task, const Floats& parameters, Residuals& residuals, const std::set<int>& dropped) const;
  void update(Floats& parameters, const Floats& gradient) const;
};

/// A line of the ledger.
struct Line {
  struct Slot {
    LaneRange range;
    uint32_t worker = 0;
    Digest digest = {};
    bool dropped = false;
  };
  uint64_t run_epoch = 0;
  int64_t step = 0;
  std::vector<Slot> slots;
  Digest gradient = {}, parameters = {};
};
using Ledger = std::vector<Line>;

Digest digest_of(const Floats& floats);
Floats floats_of(Bytes bytes);
std::shared_ptr<std::vector<std::byte>> bytes_of(const Floats& floats);

/// The ledger of one process that trains alone.
Ledger calm_run(const Toy& toy);

/// What is wrong with a ledger; "" when nothing is. `calm` is the ledger of the same training by one process; `staleness`
/// bounds how far a step may be ahead of the oldest that is missing (mode ssp).
std::string check_ledger(const Toy& toy, const Ledger& ledger, const Ledger& calm, int64_t staleness);

}  // namespace tern::dist::sim
