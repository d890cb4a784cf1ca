#pragma once
#include "dist/server_core.h"

/// The records of ServerCore; for its own sources only.
namespace tern::dist {

/// Wire::topk: a process that keeps what a lane held back in a step.
struct ServerCore::Holder {
  uint64_t instance = 0, step = 0;
};

/// Of a result that was taken, what a second one is compared with.
struct ServerCore::PastSlot {
  Digest digest = {};
  uint64_t instance = 0;
  std::optional<uint64_t> holder;  // the instance that had what was due of the step before
};

struct ServerCore::Slot {
  LaneRange range;
  std::set<ConnectionId> owners;  // who computes it
  Millis since = 0;               // of the last assignment
  std::optional<SlotResult> result;
  PastSlot taken;                 // with the result
};

struct ServerCore::OpenTask {
  Task task;
  std::vector<Slot> slots;  // empty until there is a worker
  std::vector<std::optional<SlotResult>> sums;  // of shards, in their order
};

/// A result that has begun to come.
struct ServerCore::Assembly {
  uint64_t step = 0;
  uint16_t slot = 0;
  uint16_t pieces = 0;
  uint64_t left = 0;  // bytes of the body that have not come: those at its beginning
  bool nacked = false;
  std::shared_ptr<std::vector<std::byte>> body;  // none where another result is there already: only the digest matters
};

struct ServerCore::Peer {
  enum class State { connected, preparing, ready, lapsed, leaving, closing };
  ConnectionId connection = 0;
  std::string peer;  // address
  State state = State::connected;
  uint32_t id = 0;
  Hello hello;
  FrameDecoder decoder;
  uint64_t received_seq = 0, sent_seq = 0;
  Millis opened = 0, heard = 0, beat_sent = 0;
  Millis progress = 0;  // when it last showed that it computes
  std::optional<Millis> outrun;  // since another finished what it owed, without a sign of it since
  uint64_t lanes_done = 0;
  double lane_seconds = 0;
  double transfer_seconds = 0;  // of a slot besides: parameters down, result up
  std::optional<std::pair<double, int>> first_took;  // seconds and lanes of its first result, until it has told its own time of a lane
  Millis answered = 0;          // when its last result was whole
  std::set<std::pair<uint64_t, size_t>> owned;  // (step, slot) without result
  std::optional<uint64_t> version;              // of the parameters it was sent
  std::optional<Assembly> assembly;
  uint64_t bytes_in = 0, bytes_out = 0;

  int lanes_owned(const std::map<uint64_t, OpenTask>& open) const;
  bool is_shard() const { return hello.role == Role::shard; }
  bool computes() const { return state == State::ready && !is_shard(); }
};

}  // namespace tern::dist
