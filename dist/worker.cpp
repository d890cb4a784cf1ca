#include "dist/worker.h"

#include <algorithm>
#include <utility>

#include "dist/server.h"

namespace tern::dist {
namespace {

bool same_run(const Welcome& a, const Welcome& b) {
  return a.config == b.config && a.model == b.model && a.data == b.data && a.wire == b.wire && a.top_k == b.top_k && a.mode == b.mode;
}

}  // namespace

/// One link of the hub on its own network thread. Its members are guarded by the worker's mutex.
class Worker::Line final : public ConnectionHandler {
 public:
  Line(Worker& worker, LinkId id, std::string whom) : worker_(worker), id_(id), whom_(std::move(whom)) {}
  ~Line() override { stop(std::chrono::milliseconds(0)); }
  LinkId id() const { return id_; }

  void dial(const Address& address) { transport_ = dist::dial(address, worker_.security_, worker_.limits_, *this, worker_.instance_ + id_); }
  void stop(std::chrono::milliseconds linger) {
    if (transport_) transport_->stop(linger);
  }

  /// Sends soon what the hub has for this line. With the mutex held.
  void flush_soon() {
    if (transport_ && worker_.hub_.has_output(id_)) transport_->post([this] { flush(); });
  }
  /// On its own network thread alone, so that frames go in the order in which they were made.
  void flush() {
    std::vector<Outgoing> frames;
    bool close = false;
    ConnectionId connection = 0;
    Transport* transport = nullptr;
    {
      const std::lock_guard lock(worker_.mutex_);
      transport = transport_.get();
      connection = connection_;
      frames = worker_.hub_.take_frames(id_);
      close = worker_.hub_.take_close(id_);
    }
    if (connection == 0) return;
    if (!frames.empty()) transport->send(connection, std::move(frames));
    if (close) transport->close(connection);
  }

  void connected(ConnectionId id, const std::string& peer) override {
    worker_.act(*this, [&] {
      connection_ = id;
      if (!std::exchange(last_failure_, "").empty()) worker_.own_notes_.push_back("connected to " + (whom_.empty() ? peer : whom_));
      worker_.hub_.connected(id_, steady_now());
    });
  }
  void received(ConnectionId id, Bytes bytes) override {
    worker_.act(*this, [&] {
      failures_ = 0;
      if (id == connection_) worker_.hub_.received(id_, bytes, steady_now());
    });
  }
  void disconnected(ConnectionId id, const std::string& why) override {
    worker_.act(*this, [&] {
      if (id == connection_ && id != 0) {
        connection_ = 0;
        worker_.hub_.disconnected(id_, steady_now());
      }
      const WorkerHub& hub = worker_.hub_;
      const bool over = hub.drained() || hub.left() || hub.refused();
      if (id_ != kServerLink && ++failures_ < 2) return;  // a shard may hear of a layout later than its workers
      // Each reason once, not at every attempt.
      if (std::exchange(last_failure_, why) != why && !over) worker_.own_notes_.push_back("no connection" + (whom_.empty() ? "" : " with " + whom_) + ": " + why);
    });
  }
  void tick() override {
    worker_.act(*this, [&] { worker_.hub_.tick(id_, steady_now()); });
  }

 private:
  Worker& worker_;
  const LinkId id_;
  const std::string whom_;  // "" or "shard HOST:PORT"
  int failures_ = 0;        // in a row
  ConnectionId connection_ = 0;
  std::string last_failure_;
  std::unique_ptr<Transport> transport_;
};

Worker::Worker(WorkerOptions options, const Address& server, const Security& security, const TransportLimits& limits,
               std::function<void(const std::string&)> note)
    : security_(security), limits_(limits), instance_(options.hello.instance), hub_(std::move(options)), online_at_(steady_now()), note_(std::move(note)) {
  const std::lock_guard lock(mutex_);
  server_ = std::make_unique<Line>(*this, kServerLink, "");
  server_->dial(server);
}

Worker::~Worker() {
  server_->stop(std::chrono::milliseconds(0));  // the others stay as they are from then on
  for (const auto& shard : shards_) shard->stop(std::chrono::milliseconds(0));
}

/// An event on a line, and what follows from it. Lines come and go on the server's thread alone, which is none of theirs.
void Worker::act(Line& line, const std::function<void()>& event) {
  {
    const std::lock_guard lock(mutex_);
    event();
    wake();
  }
  line.flush();
  if (line.id() == kServerLink) follow_links();
  tell_notes();
}

/// With the mutex held, after whatever may have changed the hub.
void Worker::wake() {
  server_->flush_soon();
  for (const auto& shard : shards_) shard->flush_soon();
  for (std::string& note : hub_.take_notes()) own_notes_.push_back(std::move(note));
  if (hub_.online()) online_at_ = steady_now();
  news_.notify_all();
}

void Worker::follow_links() {
  std::vector<std::unique_ptr<Line>> gone;  // their threads end without the mutex, which they may be waiting for
  {
    const std::lock_guard lock(mutex_);
    const std::vector<ShardLink> wanted = hub_.links();
    const auto dropped = std::stable_partition(shards_.begin(), shards_.end(), [&](const auto& line) {
      return std::ranges::find(wanted, line->id(), &ShardLink::id) != wanted.end();
    });
    std::move(dropped, shards_.end(), std::back_inserter(gone));
    shards_.erase(dropped, shards_.end());
    for (const ShardLink& link : wanted)
      if (std::ranges::none_of(shards_, [&](const auto& line) { return line->id() == link.id; })) dial_shard(link);
  }
}

/// With the mutex held.
void Worker::dial_shard(const ShardLink& link) {
  shards_.push_back(std::make_unique<Line>(*this, link.id, "shard " + link.address));
  try {
    shards_.back()->dial(parse_address(link.address, "the shard's address"));
  } catch (const std::exception& error) {
    own_notes_.push_back("no connection with a shard: " + std::string(error.what()));
  }
}

void Worker::tell_notes() {
  std::vector<std::string> notes;
  {
    const std::lock_guard lock(mutex_);
    notes = std::exchange(own_notes_, {});
  }
  for (const std::string& text : notes) note_(text);
}

Worker::Next Worker::wait(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  std::unique_lock lock(mutex_);
  while (true) {
    Next next;
    if (hub_.drained()) {
      next.drained = hub_.drained();
    } else if (hub_.refused()) {
      next.refused = hub_.refused();
    } else if (hub_.left()) {
      next.left = true;
    } else if (hub_.terms() && (!seen_terms_ || !same_run(*seen_terms_, *hub_.terms()))) {
      seen_terms_ = hub_.terms();
      next.new_terms = true;
    } else {
      next.work = hub_.next();
      if (!next.work && !hub_.online()) next.offline = std::chrono::milliseconds(steady_now() - online_at_);
    }
    if (!next.nothing() || news_.wait_until(lock, until) == std::cv_status::timeout) return next;
  }
}

Welcome Worker::terms() const {
  const std::lock_guard lock(mutex_);
  return hub_.terms().value();
}

void Worker::ready(const Digest& model, const Digest& data) {
  const std::lock_guard lock(mutex_);
  hub_.ready(model, data, steady_now());
  wake();
}

void Worker::refuse(Refusal why, const std::string& text) {
  const std::lock_guard lock(mutex_);
  hub_.refuse(why, text);
  wake();
}

bool Worker::wanted(const Work& work) const {
  const std::lock_guard lock(mutex_);
  return hub_.wanted(work);
}

void Worker::send_part(const Work& work, const std::shared_ptr<const std::vector<std::byte>>& body, size_t from) {
  const std::lock_guard lock(mutex_);
  hub_.send_part(work, body, from);
  wake();
}

void Worker::finish(const Work& work, std::shared_ptr<const std::vector<std::byte>> body, double lane_seconds) {
  const std::lock_guard lock(mutex_);
  hub_.finish(work, std::move(body), lane_seconds, steady_now());
  wake();
}

void Worker::progressed() {
  const std::lock_guard lock(mutex_);
  hub_.progressed();
}

void Worker::leave() {
  const std::lock_guard lock(mutex_);
  hub_.leave(steady_now());
  wake();
}

void Worker::stop() { server_->stop(std::chrono::milliseconds(1000)); }

}  // namespace tern::dist
