#include "dist/worker.h"

#include <utility>

#include "dist/server.h"

namespace tern::dist {
namespace {

bool same_run(const Welcome& a, const Welcome& b) {
  return a.config == b.config && a.model == b.model && a.data == b.data && a.wire == b.wire && a.top_k == b.top_k && a.mode == b.mode;
}

}  // namespace

Worker::Worker(WorkerOptions options, const Address& server, const Security& security, const TransportLimits& limits,
               std::function<void(const std::string&)> note)
    : core_(options), online_at_(steady_now()), note_(std::move(note)) {
  const std::lock_guard lock(mutex_);
  transport_ = dial(server, security, limits, *this, options.hello.instance);
}

Worker::~Worker() {
  if (transport_) transport_->stop(std::chrono::milliseconds(0));
}

void Worker::connected(ConnectionId id, const std::string& peer) {
  bool again = false;
  {
    const std::lock_guard lock(mutex_);
    connection_ = id;
    again = !std::exchange(last_failure_, "").empty();
    core_.connected(steady_now());
  }
  if (again) note_("connected to " + peer);
  flush();
}

void Worker::received(ConnectionId id, Bytes bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (id == connection_) core_.received(bytes, steady_now());
  }
  flush();
}

void Worker::disconnected(ConnectionId id, const std::string& why) {
  bool news = false;
  {
    const std::lock_guard lock(mutex_);
    if (id == connection_ && id != 0) {
      core_.disconnected(steady_now());
      connection_ = 0;
    }
    const bool over = core_.drained() || core_.left() || core_.refused();
    news = std::exchange(last_failure_, why) != why && !over;  // each reason once, not at every attempt
  }
  if (news) note_("no connection: " + why);
  flush();
}

void Worker::tick() {
  {
    const std::lock_guard lock(mutex_);
    core_.tick(steady_now());
  }
  flush();
}

void Worker::flush() {
  std::vector<Outgoing> frames;
  std::vector<std::string> notes;
  bool close = false;
  ConnectionId connection = 0;
  Transport* transport = nullptr;
  {
    const std::lock_guard lock(mutex_);
    transport = transport_.get();
    connection = connection_;
    frames = core_.take_frames();
    notes = core_.take_notes();
    close = core_.take_close();
    if (core_.online()) online_at_ = steady_now();
  }
  news_.notify_all();
  if (connection != 0) {
    if (!frames.empty()) transport->send(connection, std::move(frames));
    if (close) transport->close(connection);
  }
  for (const std::string& text : notes) note_(text);
}

void Worker::flush_soon() {
  transport_->post([this] { flush(); });
}

Worker::Next Worker::wait(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  std::unique_lock lock(mutex_);
  while (true) {
    Next next;
    if (core_.drained()) {
      next.drained = core_.drained();
    } else if (core_.refused()) {
      next.refused = core_.refused();
    } else if (core_.left()) {
      next.left = true;
    } else if (core_.terms() && (!seen_terms_ || !same_run(*seen_terms_, *core_.terms()))) {
      seen_terms_ = core_.terms();
      next.new_terms = true;
    } else {
      next.work = core_.next();
      if (!next.work && !core_.online()) next.offline = std::chrono::milliseconds(steady_now() - online_at_);
    }
    const bool something = next.drained || next.refused || next.left || next.new_terms || next.work;
    if (something || news_.wait_until(lock, until) == std::cv_status::timeout) return next;
  }
}

Welcome Worker::terms() const {
  const std::lock_guard lock(mutex_);
  return core_.terms().value();
}

void Worker::ready(const Digest& model, const Digest& data) {
  {
    const std::lock_guard lock(mutex_);
    core_.ready(model, data, steady_now());
  }
  flush_soon();
}

void Worker::refuse(Refusal why, const std::string& text) {
  {
    const std::lock_guard lock(mutex_);
    core_.refuse(why, text);
  }
  flush_soon();
}

bool Worker::wanted(const Work& work) const {
  const std::lock_guard lock(mutex_);
  return core_.wanted(work);
}

void Worker::send_part(const Work& work, const std::shared_ptr<const std::vector<std::byte>>& body, size_t from) {
  {
    const std::lock_guard lock(mutex_);
    core_.send_part(work, body, from);
  }
  flush_soon();
}

void Worker::finish(const Work& work, std::shared_ptr<const std::vector<std::byte>> body, double lane_seconds) {
  {
    const std::lock_guard lock(mutex_);
    core_.finish(work, std::move(body), lane_seconds, steady_now());
  }
  flush_soon();
}

void Worker::progressed() {
  const std::lock_guard lock(mutex_);
  core_.progressed();
}

void Worker::leave() {
  {
    const std::lock_guard lock(mutex_);
    core_.leave(steady_now());
  }
  flush_soon();
}

void Worker::stop() { transport_->stop(std::chrono::milliseconds(1000)); }

}  // namespace tern::dist
