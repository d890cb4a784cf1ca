#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dist/worker_core.h"

/// A worker's connections together: that with the server and, where it has shards, one with each of these.
namespace tern::dist {

/// Which connection: 0 is the server's, others are never used again.
using LinkId = uint64_t;
inline constexpr LinkId kServerLink = 0;

/// A connection with a shard that is to be there.
struct ShardLink {
  LinkId id = 0;
  std::string address;
};

/// WorkerCore's functions for the computing thread, whoever takes the results: the server alone, or shards, who get
/// each their part of a gradient before the server gets the rest. So when the server has that, nothing is missing.
/// Without sockets, threads and clocks.
class WorkerHub {
 public:
  explicit WorkerHub(WorkerOptions options);
  ~WorkerHub();

  // Of the network. What comes of a link that is no more is passed over.
  void connected(LinkId link, Millis now);
  void received(LinkId link, Bytes bytes, Millis now);
  void disconnected(LinkId link, Millis now);
  void tick(LinkId link, Millis now);
  /// The links with shards that there shall be; they change when the server says so, or its connection ends.
  std::vector<ShardLink> links() const;
  std::vector<Outgoing> take_frames(LinkId link);
  bool take_close(LinkId link);
  bool has_output(LinkId link) const;
  std::vector<std::string> take_notes();

  // Of the computing thread, as WorkerCore's.
  void ready(const Digest& model, const Digest& data, Millis now);
  void refuse(Refusal why, const std::string& text) { server_.refuse(why, text); }
  std::optional<Work> next();
  bool wanted(const Work& work) const { return server_.wanted(work); }
  void progressed() { server_.progressed(); }
  void send_part(const Work& work, const std::shared_ptr<const std::vector<std::byte>>& body, size_t from);
  /// With shards the next work comes after all of them have what is theirs.
  void finish(const Work& work, std::shared_ptr<const std::vector<std::byte>> body, double lane_seconds, Millis now);
  void leave(Millis now) { server_.leave(now); }

  const std::optional<Welcome>& terms() const { return server_.terms(); }
  std::optional<Drain::Reason> drained() const { return server_.drained(); }
  std::optional<ErrorMessage> refused() const;
  bool left() const { return server_.left(); }
  bool online() const { return server_.online(); }

 private:
  struct Link;
  /// A result on its way to shards.
  struct Sharded {
    Work work;
    std::shared_ptr<const std::vector<std::byte>> body;  // when a part of it is there
    bool finished = false;
    double lane_seconds = 0;
  };

  Link* find(LinkId id) const;
  void go_on(Millis now);
  void follow_layout();
  void greet(Link& link, Millis now);
  static bool is_greeted(const Link& link);
  void gather_parameters();
  void send_finished(Link& link, Millis now);
  void settle(Millis now);
  ResultBytes part_of(const Link& link) const;
  size_t gradient_begin() const;
  size_t element() const { return server_.terms()->wire == Wire::f16 ? 2 : sizeof(float); }
  std::shared_ptr<const std::vector<std::byte>> report() const;

  const WorkerOptions options_;
  WorkerCore server_;
  std::vector<std::unique_ptr<Link>> links_;
  uint64_t layout_ = 0;  // of links_
  LinkId last_link_ = kServerLink;
  std::optional<Sharded> sharded_;
  std::vector<std::string> notes_;
};

}  // namespace tern::dist
