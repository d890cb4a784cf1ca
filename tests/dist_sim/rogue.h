#pragma once
#include <optional>
#include <string>
#include <vector>

#include "dist/messages.h"
#include "tests/dist_sim/network.h"

namespace tern::dist::sim {

class World;

/// A client that does what none should.
class Rogue : public Endpoint {
 public:
  Rogue(World& world, int host);
  void connected(ConnectionId id) override;
  void received(ConnectionId id, Bytes bytes) override;
  void disconnected(ConnectionId id, const std::string& why) override;
  ConnectionId connection() const { return connection_; }

 private:
  enum class Kind {
    silent,        ///< never says HELLO
    pickle,        ///< the original system's messages
    noise,
    cut_header,    ///< the connection ends in the middle of it
    cut_body,
    version,       ///< speaks none that the server does
    device,        ///< of another class
    other_model,   ///< ready with other digests
    fuzz,          ///< HELLO, then frames of any type with any payload, their checksums right
    impatient,     ///< GRAD without being ready
    forger,        ///< gets lanes, never computes, and when they were taken from it sends something of its own making
    old_results,   ///< the same at once, but of an earlier incarnation
    wrong_size,    ///< a result of another length than its lanes have
    wrong_digest,  ///< a result whose digest is not that of its bytes
  };
  static constexpr int kKinds = 14;

  void send(FrameHeader header, std::vector<std::byte> payload);
  void say_hello();
  void ready();
  void after_welcome();
  void on_assign(const FrameHeader& header, const Assign& assign);
  void fuzz();
  void forge();
  void linger();
  std::vector<std::byte> noise(size_t size);

  World& world_;
  Kind kind_;
  bool shard_ = false;  // it came to a shard
  ConnectionId connection_ = 0;
  FrameDecoder decoder_;
  uint64_t seq_ = 0, run_epoch_ = 0;
  uint32_t worker_ = 0;
  std::optional<std::pair<uint64_t, SlotRange>> assigned_;
};

}  // namespace tern::dist::sim
