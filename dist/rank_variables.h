#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace tern::dist {

/// The value of an environment variable; nothing where it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
/// The process's own.
Environment process_environment();

/// Which of the processes this one is, as its launcher says.
struct Placement {
  int rank = 0, size = 1, local_rank = 0;
  std::string source;      ///< the variable that told the rank; "" where none did: one process alone
  std::string address;     ///< MASTER_ADDR, where rank 0 is; "" where it is not set
  uint16_t port = 0;       ///< MASTER_PORT; 0 where it is not set
};

/// Reads RANK, WORLD_SIZE, LOCAL_RANK (torchrun and people), OMPI_COMM_WORLD_* (Open MPI), PMI_RANK, PMI_SIZE,
/// MPI_LOCALRANKID (MPICH and its kin), and where none of these two is there SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID of a
/// step that srun started: in a batch script that calls mpirun they speak of another process.
/// Throws ConfigError naming both variables where they contradict each other, or one that is no number, out of range, or alone.
Placement placement_of(const Environment& environment);

/// Throws ConfigError when the variables say another rank or size than the engine called `engine`.
void check_placement(const Placement& placement, const std::string& engine, int rank, int size);

}  // namespace tern::dist
