#include "dist/rank_variables.h"

#include <charconv>
#include <cstdlib>
#include <vector>

#include "core/error.h"

namespace tern::dist {
namespace {

/// A number that a variable gave.
struct Told {
  std::string variable;
  int value = 0;
};

std::optional<Told> number_of(const Environment& environment, const std::string& variable, int most = 1 << 20) {
  const std::optional<std::string> text = environment(variable);
  if (!text) return std::nullopt;
  int value = 0;
  const auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || stop != text->data() + text->size() || value < 0 || value > most)
    throw ConfigError(variable + ": got \"" + *text + "\", wanted a number from 0 to " + std::to_string(most));
  return Told{variable, value};
}

/// What the variables agree on. Throws ConfigError naming the two that do not.
std::optional<Told> agreed(const Environment& environment, const std::vector<std::string>& variables) {
  std::optional<Told> first;
  for (const std::string& variable : variables) {
    const std::optional<Told> told = number_of(environment, variable);
    if (!told) continue;
    if (first && first->value != told->value)
      throw ConfigError(first->variable + " is " + std::to_string(first->value) + ", but " + variable + " is " +
                        std::to_string(told->value) + ": unset the one that the launcher did not set");
    if (!first) first = told;
  }
  return first;
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  };
}

Placement placement_of(const Environment& environment) {
  std::vector<std::string> ranks{"RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"}, sizes{"WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"},
      locals{"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"};
  const bool by_mpi = environment("OMPI_COMM_WORLD_RANK") || environment("PMI_RANK");
  // srun sets the number of the step, sbatch does not.
  if (!by_mpi && environment("SLURM_STEP_ID")) {
    ranks.emplace_back("SLURM_PROCID");
    sizes.emplace_back("SLURM_NTASKS");
    locals.emplace_back("SLURM_LOCALID");
  }
  const std::optional<Told> rank = agreed(environment, ranks), size = agreed(environment, sizes), local = agreed(environment, locals);
  if (rank && !size) throw ConfigError(rank->variable + " is set, but nothing says how many ranks there are: set WORLD_SIZE");
  if (size && !rank) throw ConfigError(size->variable + " is set, but nothing says which rank this is: set RANK");
  Placement placement;
  if (rank) {
    if (rank->value >= size->value)
      throw ConfigError(rank->variable + " is " + std::to_string(rank->value) + ", but " + size->variable + " is " +
                        std::to_string(size->value) + ": ranks are numbered from 0");
    placement.rank = rank->value;
    placement.size = size->value;
    placement.source = rank->variable;
  }
  if (local) placement.local_rank = local->value;
  placement.address = environment("MASTER_ADDR").value_or("");
  if (const auto port = number_of(environment, "MASTER_PORT", 65535)) placement.port = static_cast<uint16_t>(port->value);
  return placement;
}

void check_placement(const Placement& placement, const std::string& engine, int rank, int size) {
  if (placement.source.empty() || (placement.rank == rank && placement.size == size)) return;
  throw ConfigError(placement.source + " says rank " + std::to_string(placement.rank) + " of " + std::to_string(placement.size) + ", but " +
                    engine + " says rank " + std::to_string(rank) + " of " + std::to_string(size) +
                    ": unset the variable, or start every rank with the same launcher");
}

}  // namespace tern::dist
