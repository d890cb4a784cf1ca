#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "dist/server_core.h"

namespace tern {

/// ledger.jsonl of a server's run folder: a line for every step that was taken, never rewritten. A server that was killed
/// and goes on from a checkpoint takes steps again, with a greater run_epoch; its digests must then be the same.
class Ledger {
 public:
  /// Opens for appending. A last line that a kill cut short is ended first. Throws Error.
  explicit Ledger(const std::filesystem::path& file);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  /// {"run_epoch":1,"step":7,"lanes":[[first,count,worker,"digest"],...],"gradient":"...","parameters":"..."};
  /// and "dropped":[lane,...] where lanes went on without what they had held back (Wire::topk).
  void add(uint64_t run_epoch, uint64_t step, std::span<const dist::SlotResult> slots, const dist::Digest& gradient,
           const dist::Digest& parameters);

  /// Lines wait because the disk is full; the next add() tries them again.
  bool behind() const { return !waiting_.empty(); }

 private:
  void write();

  int fd_ = -1;
  std::string waiting_;
};

/// server.json: what a server must know of those before it on the same run folder.
struct ServerState {
  uint64_t run_epoch = 0;
  std::string device_class;  ///< of the workers; "" while there were none
};
/// The state in `folder`, or the initial one where there is none. Throws DataError when it does not parse.
ServerState read_server_state(const std::filesystem::path& folder);
void write_server_state(const std::filesystem::path& folder, const ServerState& state);

}  // namespace tern
