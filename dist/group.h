#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

/// Training where every process trains: ranks 0 .. size-1 that call the same functions in the same order.
namespace tern::dist {

/// Bytes for another rank, or from it; never for oneself. Messages between two ranks arrive in the order of sending.
struct RankSend {
  int to = 0;
  std::span<const std::byte> bytes;
};
struct RankReceive {
  int from = 0;
  std::span<std::byte> bytes;
};

enum class Memory { host, device };

struct GroupCaps {
  bool elastic = false;        ///< ranks may come and go
  bool encrypted = false;      ///< what travels is
  bool bitwise = false;        ///< bytes arrive as they were sent, and no engine adds numbers in an order of its own
  bool device_memory = false;  ///< exchange() takes Memory::device
};

/// What becomes of a step when a rank is lost.
enum class OnFailure { reassign, restart, fatal };

/// An engine that moves bytes between ranks.
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int local_rank() const = 0;  ///< among the ranks of this machine
  virtual GroupCaps caps() const = 0;
  virtual OnFailure on_failure() const = 0;

  /// Sends and receives all of these at once and waits for them; what rank a sends to b, b receives from a, in as many
  /// messages of the same sizes. All-to-all, all-gather and broadcast are this. Throws PeerLostError.
  virtual void exchange(std::span<const RankSend> sends, std::span<const RankReceive> receives, Memory memory = Memory::host) = 0;

  /// Device memory is exchanged behind what is queued on this stream (a cudaStream_t).
  virtual void use_stream(void* /*stream*/) {}

  /// Ends this process with `exit_code`, and the others as far as the engine can: for errors that the others do not
  /// know of, who would wait for ever.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

/// Every rank's bytes, by rank; their lengths may differ.
std::vector<std::vector<std::byte>> all_gather(Group& group, std::span<const std::byte> mine);
/// Rank 0's bytes, on every rank; what the others pass is ignored.
std::vector<std::byte> broadcast(Group& group, std::span<const std::byte> bytes);
/// Returns when all ranks have called it.
void barrier(Group& group);

/// Every rank's value, by rank.
template <class T>
  requires std::is_trivially_copyable_v<T>
std::vector<T> all_gather_values(Group& group, const T& mine) {
  const auto size = static_cast<size_t>(group.size());
  std::vector<T> all(size, mine);
  std::vector<RankSend> sends;
  std::vector<RankReceive> receives;
  for (size_t rank = 0; rank < size; ++rank) {
    if (static_cast<int>(rank) == group.rank()) continue;
    sends.push_back({static_cast<int>(rank), std::as_bytes(std::span(&mine, 1))});
    receives.push_back({static_cast<int>(rank), std::as_writable_bytes(std::span(&all[rank], 1))});
  }
  group.exchange(sends, receives);
  return all;
}

}  // namespace tern::dist
