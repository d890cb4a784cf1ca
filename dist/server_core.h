#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dist/lane_tree.h"
#include "dist/messages.h"
#include "dist/transport.h"

/// The server's side of the protocol without sockets, threads or clocks: events with their time go in, frames to send and
/// results come out. tests/ run it on a simulated network; dist/server.h runs it on a real one. Ref: docs/distributed.md.
namespace tern::dist {

using Millis = int64_t;  ///< on any steady clock

struct ServerOptions {
  uint64_t run_epoch = 1;
  Welcome terms;                ///< what every worker is told; `worker` is set for each
  std::string device_class;     ///< that workers must have; empty: any, and in exact modes the first one's from then on
  bool one_device_class = true;
  std::string build;            ///< the server's program: in exact modes an event tells of workers with another
  Millis handshake = 5000;      ///< from connection to HELLO
  Millis lease = 3000;          ///< a worker without progress for longer loses its lanes ...
  double lease_factor = 5;      ///< ... or for this many times what it needs, where that is longer
  Millis silence = 10000;       ///< a connection that brings no frame for longer is closed
  double speculate_factor = 2;  ///< a slot that takes so many times as long as expected is given to a second worker
  size_t max_workers = 1024;
  bool shards = false;   ///< takes shards, which add up parts of gradients; for exact modes, f32 and f16
  bool gathers = false;  ///< a shard's: gives nothing to compute, takes tasks that are cut already, their results from any worker, and sends all workers each version of the parameters
};

/// A step to be computed by workers.
struct Task {
  uint64_t step = 0;  ///< of the whole run, from 0
  uint32_t epoch = 0, step_in_epoch = 0, steps = 1;
  int lanes = 0;      ///< that hold pictures
  int whole_slots = 0;  ///< 1: one worker computes all of it (asp, ssp)
  float loss_scale = 1;
  bool whole = false;   ///< Wire::topk: lanes send all of their gradients, and hold nothing back
  std::function<uint64_t(LaneRange)> result_bytes;  ///< size of a result's body
  uint64_t gradient_bytes = 0;   ///< of them, at its end: what goes to shards where there are any
  std::vector<SlotRange> cut;    ///< gathers: its slots
  std::function<bool(Bytes)> well_formed;  ///< whether a body of that size can be read; empty: every one can
};

/// What a worker computed for a node: the bytes that tools/lane_body.h reads.
struct SlotResult {
  LaneRange range;
  std::shared_ptr<std::vector<std::byte>> body;
  Digest digest = {};
  uint32_t worker = 0;
  bool dropped = false;  ///< Wire::topk: without what the lane had held back, which another worker had
};
struct TaskResult {
  Task task;
  std::vector<SlotResult> slots;  ///< in the order of lanes
  std::shared_ptr<std::vector<float>> gradient;  ///< from shards: their sum; slots then lack theirs. Else null
};

/// Something that people or counters should hear of.
struct ServerEvent {
  enum class Kind { joined, ready, left, lost, lapsed, recovered, reassigned, speculated, dropped, sharded, other_build, refused, alarm };
  Kind kind;
  uint32_t worker = 0;
  std::string text;
};
std::string_view name_of(ServerEvent::Kind kind);

struct ServerAction {
  ConnectionId connection = 0;
  std::vector<Outgoing> frames;
  bool close = false;  ///< after the frames
};

/// A row of the workers' table.
struct WorkerStatus {
  uint32_t id = 0;
  std::string name, peer, device_class;
  std::string state;  ///< preparing, ready, computing, lapsed, leaving
  uint64_t step = 0;
  int lanes = 0;      ///< that it is computing
  uint64_t lanes_done = 0, bytes_in = 0, bytes_out = 0;
  double lane_seconds = 0;
  Millis heard = 0;   ///< since its last frame
};

struct ServerCounters {
  std::array<uint64_t, kRefusals> refused{};  ///< by Refusal
  uint64_t joined = 0, left = 0, lost = 0, lapsed = 0, reassigned = 0, speculated = 0;
  uint64_t dropped = 0;  ///< lanes that went on without what they had held back
  uint64_t results = 0, duplicates = 0, nacked = 0, alarms = 0, steps = 0;
  uint64_t gradient_bytes = 0, parameter_bytes = 0;  ///< payloads of GRAD and PARAMS
};

class ServerCore {
 public:
  /// Throws Error when options.terms cannot be sent.
  explicit ServerCore(ServerOptions options);
  ~ServerCore();
  ServerCore(const ServerCore&) = delete;
  ServerCore& operator=(const ServerCore&) = delete;

  // Of the network.
  void connected(ConnectionId id, const std::string& peer, Millis now);
  void received(ConnectionId id, Bytes bytes, Millis now);
  void disconnected(ConnectionId id, const std::string& why, Millis now);
  void tick(Millis now);

  // Of the training.
  /// New parameters: `version` updates have been made. Sent to a worker with the next thing that it is to compute.
  void publish(uint64_t version, std::shared_ptr<const std::vector<std::byte>> parameters);
  /// Steps grow; several may be open at a time. Waits for a first ready worker where there is none.
  void begin(Task task, Millis now);
  /// The result of `step` was used: everybody is told.
  void committed(uint64_t step, const Digest& parameters, Millis now);
  /// Training ends: workers are sent home, newcomers turned away.
  void drain(Drain::Reason reason, Millis now);

  std::vector<ServerAction> take_actions();
  std::vector<TaskResult> take_results();
  std::vector<ServerEvent> take_events();

  int ready_workers() const;
  int ready_shards() const;
  int connections() const { return static_cast<int>(peers_.size()); }
  size_t pending_bytes() const;  ///< of unfinished frames and results, which is what clients can make the server hold
  std::vector<WorkerStatus> workers(Millis now) const;
  std::vector<WorkerStatus> shards(Millis now) const;
  const ServerCounters& counters() const { return counters_; }
  /// That workers must have by now; "" where any is welcome.
  const std::string& device_class() const { return options_.device_class; }

 private:
  struct Assembly;
  struct Peer;
  struct Slot;
  struct OpenTask;
  struct Holder;
  struct PastSlot;
  using PeerPtr = std::unique_ptr<Peer>;

  bool on_frame(Peer& peer, const FrameHeader& header, Bytes payload, Millis now);
  bool on_hello(Peer& peer, Bytes payload, Millis now);
  static bool is_reachable(const std::string& peer, const std::string& said);
  bool on_heartbeat(Peer& peer, const FrameHeader& header, Bytes payload, Millis now);
  bool on_grad(Peer& peer, const FrameHeader& header, Bytes payload, Millis now);
  bool start_result(Peer& peer, const FrameHeader& header, Bytes payload);
  bool finish_result(Peer& peer, Bytes payload, Millis now);
  bool finish_slot(Peer& peer, const Assembly& assembly, const Digest& digest, Millis now);
  static void note_transfer(Peer& peer, double took, int lanes);
  void complete(uint64_t step);
  bool second_result(Peer& peer, uint64_t step, uint16_t slot, const Digest& digest);
  const PastSlot* first_result(uint64_t step, uint16_t slot) const;
  bool admit(Peer& peer, const Heartbeat& beat, Millis now);

  void send(Peer& peer, FrameType type, std::vector<std::byte> payload = {}, uint64_t step = 0, uint16_t slot = 0, uint8_t flags = 0);
  void send_parameters(Peer& peer);
  bool refuse(Peer& peer, Refusal why, const std::string& text);
  bool nack(Peer& peer, uint64_t step, uint16_t slot, Nack::Reason reason);
  void event(ServerEvent::Kind kind, const Peer& peer, const std::string& text);

  std::vector<const Peer*> find_shards() const;
  bool is_laid_out() const;
  bool lacks_shard() const;
  void lay_out();
  void tell_layout(Peer& peer);
  void assign_shards(OpenTask& task);
  uint64_t wanted_bytes(const Task& task, LaneRange range) const;
  bool start_sum(Peer& peer, Assembly& assembly);
  bool finish_sum(const Peer& peer, const Assembly& assembly, const Digest& digest);
  const SlotResult* find_stranger(const OpenTask& task, const std::vector<SlotResult>& slots) const;
  void distrust(const SlotResult& stranger, uint64_t step);
  void take_sums(OpenTask& task, TaskResult& result);

  void schedule(Millis now);
  void cut(OpenTask& task);
  void assign(Peer& peer, OpenTask& task, const std::vector<size_t>& slots, Millis now);
  bool sparse() const;
  bool carries(const Peer& peer, uint64_t step, LaneRange range) const;
  Peer* hand_for(uint64_t step, LaneRange range, const std::vector<Peer*>& ready) const;
  bool may_differ(const Peer& peer, const PastSlot& taken) const;
  void note_holder(const Peer& peer, const Task& task, SlotResult& result, PastSlot& taken);
  void take_away(Peer& peer);
  void speculate(Millis now);
  std::vector<Peer*> hands() const;
  Peer* idlest();
  std::vector<WorkerStatus> rows(Role role, Millis now) const;
  Millis lease_of(const Peer& peer) const;
  void say_goodbye(Peer& peer);
  void hang_up(Peer& peer);
  bool dismiss(Peer& peer);

  ServerOptions options_;
  std::map<ConnectionId, PeerPtr> peers_;
  std::map<uint64_t, OpenTask> open_;  // by step
  std::map<uint64_t, std::vector<PastSlot>> past_;  // the last few steps, for results that come twice
  Shards layout_;                         // of the gradients: layout_.layout is the run_epoch while there was no shard
  std::vector<ConnectionId> shard_connections_;  // of layout_.shards
  uint64_t layouts_ = 0;
  std::map<int, Holder> holders_;  // by lane: who has what it held back
  std::shared_ptr<const std::vector<std::byte>> parameters_;
  uint64_t version_ = 0;
  uint32_t next_worker_ = 1;
  std::optional<Drain::Reason> draining_;
  std::vector<ServerAction> actions_;
  std::vector<TaskResult> results_;
  std::vector<ServerEvent> events_;
  ServerCounters counters_;
};

}  // namespace tern::dist
