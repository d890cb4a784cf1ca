#pragma once
#include <array>
#include <string_view>

/// Bugs that the simulator and its checker must find. Those of the cores are cut into copies of their sources by
/// plants.cmake; the cores themselves know nothing of this. Those of the training are in simulated_server.cpp.
namespace tern::dist::sim {

enum class Plant {
  none,
  second_result_counted,  ///< no de-duplication
  run_epoch_ignored,      ///< a result of an earlier incarnation is taken
  owner_ignored,          ///< a result is taken from a worker that lost the slot, or never had it
  late_to_next_step,      ///< a late result is taken for the step that is open
  digest_ignored,
  checksum_ignored,
  no_reassignment,        ///< what a lost worker had is not given to another
  no_lease,
  arrival_order,          ///< results are added as they came, not in the canonical tree
  checkpoint_not_kept,    ///< the newest checkpoint is lost, and training counts on from it
  wrong_parameters,       ///< those of the version before are handed out
  staleness_ignored,      ///< ssp without its bound
  hung_counts_as_ready,   ///< a worker's heartbeats say so when its thread hangs in what is void
  leaver_forgotten,       ///< who leaves is not told that another did what it owed
  residual_twice,         ///< what a lane held back is added again when the step is computed again
  holder_ignored,         ///< a worker is told to add what another has
  whole_forgotten,        ///< something is due after a step in which nothing was held back
  drop_untold,            ///< a lane goes on without what it had held back, and the ledger does not say so
  layout_ignored,         ///< a result is taken that was begun before shards changed
  shard_loss_unnoticed,   ///< steps wait for shards that are gone
  report_before_parts,    ///< a worker tells the server that it is done before shards have their parts
  shard_adds_in_order,    ///< a shard does not add in the canonical tree
  mixed_parameters,       ///< a worker computes with parts of several versions
  result_not_ended,       ///< a worker that has sent a part of what nobody wants any more does not send the rest
};
inline constexpr std::array<std::string_view, 25> kPlants{
    "none",           "second_result_counted", "run_epoch_ignored", "owner_ignored", "late_to_next_step",
    "digest_ignored", "checksum_ignored",      "no_reassignment",   "no_lease",      "arrival_order",
    "checkpoint_not_kept", "wrong_parameters", "staleness_ignored", "hung_counts_as_ready", "leaver_forgotten",
    "residual_twice", "holder_ignored",        "whole_forgotten",   "drop_untold",
    "layout_ignored", "shard_loss_unnoticed",  "report_before_parts", "shard_adds_in_order", "mixed_parameters",
    "result_not_ended"};

/// Set once, by the program that shows a planted bug.
inline Plant the_plant = Plant::none;
inline bool planted(Plant plant) { return the_plant == plant; }

}  // namespace tern::dist::sim
