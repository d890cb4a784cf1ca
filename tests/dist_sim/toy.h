#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

  bool exact() const { return mode == Mode::bsp || mode == Mode::epoch; }
  int lanes_of(int64_t task) const { return (task + 1) % tasks_an_epoch == 0 ? lanes - ragged : lanes; }
  Floats initial() const;
  Task task(int64_t number) const;
  /// Gradient of one lane in one step.
  Floats gradient(int64_t task, uint32_t step, int lane, const Floats& parameters) const;
  /// What a worker sends for a node: the node's sum, and a number for each lane.
  Body body(int64_t task, LaneRange range, const Floats& parameters) const;
  uint64_t body_bytes(LaneRange range) const { return sizeof(float) * static_cast<uint64_t>(parameters + range.count); }
  void update(Floats& parameters, const Floats& gradient) const;
};

/// A line of the ledger.
struct Line {
  struct Slot {
    LaneRange range;
    uint32_t worker = 0;
    Digest digest = {};
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
