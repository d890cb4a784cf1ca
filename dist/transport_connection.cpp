#include "dist/transport_connection.h"

#include <algorithm>
#include <asio/post.hpp>
#include <cstring>

#include "dist/transport_network.h"

namespace tern::dist {
namespace {

constexpr int kReadsPerTurn = 4;                     // then other connections have a turn
constexpr size_t kFlushPerTurn = size_t{1} << 20;    // bytes, likewise
constexpr size_t kEncryptAhead = size_t{256} << 10;  // cipher text for one call to the system
constexpr size_t kMostBuffers = 64;                  // that Asio hands to one sendmsg
constexpr std::string_view kNoTlsHere = "tern: no TLS on this port\n";

/// A TLS record begins with its type (20 to 23) and 3.
bool looks_like_tls(Bytes bytes) {
  const auto byte = [&](size_t i) { return std::to_integer<int>(bytes[i]); };
  return bytes.size() >= 2 && byte(0) >= 20 && byte(0) <= 23 && byte(1) == 3;
}

bool would_block(const asio::error_code& error) {
  return error == asio::error::would_block || error == asio::error::try_again || error == asio::error::interrupted;
}

std::string text_of(std::chrono::milliseconds time) {
  return time.count() % 1000 == 0 ? std::to_string(time.count() / 1000) + " s" : std::to_string(time.count()) + " ms";
}

}  // namespace

Connection::Connection(Network& network, ConnectionId id, asio::ip::tcp::socket socket,
                       const asio::ip::tcp::endpoint& remote, std::unique_ptr<TlsSession> tls, bool server)
    : network_(network), id_(id), server_(server), socket_(std::move(socket)), remote_(remote), tls_(std::move(tls)) {
  asio::error_code ignored;  // the connection may be gone already: reading says so
  socket_.non_blocking(true, ignored);
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  deadline_ = Clock::now() + network_.limits().handshake;
}

void Connection::start() {
  if (!tls_) {
    opened();
  } else if (!server_) {
    take({});
  }
  if (state_ != State::gone) wait_readable();
}

void Connection::opened() {
  state_ = State::open;
  was_open_ = true;
  network_.handler().connected(id_, name_of(remote_));
}

void Connection::wait_readable() {
  socket_.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](const asio::error_code&) {
    if (self->state_ == State::gone) return;
    self->read();
    if (self->state_ != State::gone) self->wait_readable();
  });
}

void Connection::read() {
  const std::span<std::byte> buffer = network_.wire_buffer();
  for (int i = 0; i < kReadsPerTurn && state_ != State::gone; ++i) {
    asio::error_code error;
    const size_t got = socket_.read_some(asio::buffer(buffer.data(), buffer.size()), error);
    if (would_block(error)) return;
    if (error) {
      const bool unexpected = state_ == State::handshake && tls_;
      if (unexpected && server_) ++network_.count().handshakes_failed;
      const bool hung_up = unexpected && (error == asio::error::eof || error == asio::error::connection_reset);
      return end(hung_up ? TlsSession::hung_up() : error == asio::error::eof ? "closed by the peer" : words_for(error));
    }
    network_.count().wire_bytes_in += got;
    if (state_ != State::closing) take(buffer.first(got));
    if (got < buffer.size()) return;  // most likely all that there was
  }
}

void Connection::take(Bytes wire) {
  if (!tls_) {
    if (has_received_ || take_plain_text(wire)) deliver(wire);
    return;
  }
  size_t count = 0;
  const std::span<std::byte> plain = network_.plain_buffer();
  const TlsSession::Status status = tls_->feed(wire, plain, count);
  if (state_ == State::handshake && tls_->established()) opened();
  if (state_ == State::open && count > 0) deliver(plain.first(count));
  if (!tls_->output().empty()) schedule_flush();
  if (state_ == State::handshake && status != TlsSession::Status::open) return handshake_failed(tls_->why());
  if (state_ != State::open) return;
  if (status == TlsSession::Status::closed) return end("closed by the peer");
  if (status == TlsSession::Status::broken) {
    why_ = tls_->why();
    close(Clock::now() + kLinger);  // the alert that says so is on its way
  }
}

/// Looks at a plain connection's first bytes. False: they are TLS, and this is the end of it.
bool Connection::take_plain_text(Bytes wire) {
  if (!looks_like_tls(wire)) return true;
  ++network_.count().handshakes_failed;
  why_ =
      server_ ? "the peer speaks TLS, this side plain text" : "the server speaks TLS: --insecure does not go with it";
  if (server_ && queue_.empty()) {
    // A text that no TLS record begins with: the client then knows what it talked to.
    Outgoing answer{.header = {}, .payload = std::as_bytes(std::span(kNoTlsHere)), .keep = {}};
    front_done_ = kHeaderBytes;
    queued_ = answer.payload.size();
    queue_.push_back(std::move(answer));
  }
  close(Clock::now() + kLinger);
  return false;
}

void Connection::deliver(Bytes plain) {
  has_received_ = true;
  network_.count().bytes_in += plain.size();
  network_.handler().received(id_, plain);
}

void Connection::handshake_failed(const std::string& why) {
  ++network_.count().handshakes_failed;
  why_ = why;
  close(Clock::now() + kLinger);
}

void Connection::send(std::vector<Outgoing> frames) {
  if (state_ != State::open) return;
  if (!anything_to_send()) progress_ = Clock::now();
  size_t bytes = 0;
  for (Outgoing& frame : frames) {
    bytes += kHeaderBytes + frame.payload.size();
    queue_.push_back(std::move(frame));
  }
  // The bound is on what waits besides: a network's parameters, sent in one call, may be larger than any bound.
  largest_ = std::max(largest_, bytes);
  queued_ += bytes;
  if (queued_ <= network_.limits().send_queue + largest_) return schedule_flush();
  // Not at once: the handler does not expect disconnected() in the middle of a send().
  state_ = State::closing;
  why_ = "more than " + std::to_string(network_.limits().send_queue) + " bytes were waiting to be sent";
  asio::post(network_.io(), [self = shared_from_this()] { self->end(self->why_); });
}

void Connection::close(Clock::time_point deadline) {
  if (state_ == State::gone) return;
  if (state_ == State::closing) {
    deadline_ = std::min(deadline_, deadline);
    return;
  }
  if (why_.empty()) why_ = "closed";
  state_ = State::closing;
  deadline_ = deadline;
  schedule_flush();
}

void Connection::check(Clock::time_point now) {
  if (state_ == State::handshake && now >= deadline_) {
    ++network_.count().handshakes_timed_out;
    end("the TLS handshake took longer than " + text_of(network_.limits().handshake));
  } else if (state_ == State::closing && now >= deadline_) {
    end("closed");
  } else if (state_ == State::open && anything_to_send() && now - progress_ > network_.limits().stalled) {
    ++network_.count().stalled;
    end("nothing could be sent for " + text_of(network_.limits().stalled));
  }
}

void Connection::end(const std::string& why) {
  if (state_ == State::gone) return;
  state_ = State::gone;
  asio::error_code ignored;
  socket_.close(ignored);
  queue_.clear();
  network_.ended(*this, why_.empty() ? why : why_);
}

void Connection::schedule_flush() {
  if (flush_scheduled_ || waits_to_write_ || state_ == State::gone) return;
  flush_scheduled_ = true;  // not now: what else this handler sends goes out with it
  asio::post(network_.io(), [self = shared_from_this()] {
    self->flush_scheduled_ = false;
    self->flush();
  });
}

void Connection::flush() {
  if (state_ == State::gone || waits_to_write_) return;
  for (size_t sent = 0; sent < kFlushPerTurn;) {
    if (!gather()) return drained();
    asio::error_code error;
    const size_t written = socket_.write_some(network_.gathered(), error);
    if (would_block(error)) return wait_writable();
    if (error) return write_failed(error);
    progress_ = Clock::now();
    network_.count().wire_bytes_out += written;
    sent += written;
    tls_ ? tls_->sent(written) : advance(written);
  }
  schedule_flush();
}

void Connection::wait_writable() {
  waits_to_write_ = true;
  socket_.async_wait(asio::socket_base::wait_write, [self = shared_from_this()](const asio::error_code&) {
    self->waits_to_write_ = false;
    self->flush();
  });
}

/// Points the network's list of buffers at what is to be written next. False: nothing is.
bool Connection::gather() {
  std::vector<asio::const_buffer>& buffers = network_.gathered();
  buffers.clear();
  if (tls_) {
    if (tls_->established()) encrypt_some();
    const Bytes output = tls_->output();
    if (!output.empty()) buffers.emplace_back(output.data(), output.size());
    return !buffers.empty();
  }
  size_t done = front_done_;
  for (const Outgoing& frame : queue_) {
    if (buffers.size() + 2 > kMostBuffers) break;
    for (const Bytes part : {Bytes(frame.header), frame.payload}) {
      const size_t skip = std::min(done, part.size());
      done -= skip;
      if (skip < part.size()) buffers.emplace_back(part.data() + skip, part.size() - skip);
    }
  }
  return !buffers.empty();
}

/// Encrypts queued frames until enough is ready for one call to the system. Short pieces share a record; long ones go
/// to OpenSSL as they lie.
void Connection::encrypt_some() {
  std::array<std::byte, kRecordBytes> record;
  while (!queue_.empty() && tls_->output().size() < kEncryptAhead) {
    Bytes piece = front();
    if (piece.size() >= kRecordBytes) {
      piece = piece.first(std::min(piece.size(), kEncryptAhead) / kRecordBytes * kRecordBytes);
      if (!tls_->encrypt(piece)) return encryption_failed();
      advance(piece.size());
      continue;
    }
    size_t filled = 0;
    while (filled < record.size() && !queue_.empty()) {
      piece = front();
      piece = piece.first(std::min(piece.size(), record.size() - filled));
      std::memcpy(record.data() + filled, piece.data(), piece.size());
      filled += piece.size();
      advance(piece.size());
    }
    if (!tls_->encrypt(Bytes(record).first(filled))) return encryption_failed();
  }
}

/// What is left of the first frame's header, or of its payload once the header is done.
Bytes Connection::front() const {
  const Outgoing& frame = queue_.front();
  if (front_done_ < kHeaderBytes) return Bytes(frame.header).subspan(front_done_);
  return frame.payload.subspan(front_done_ - kHeaderBytes);
}

/// Takes the next `bytes` off the queue: they were sent, or encrypted.
void Connection::advance(size_t bytes) {
  network_.count().bytes_out += bytes;
  queued_ -= bytes;
  front_done_ += bytes;
  while (!queue_.empty() && front_done_ >= kHeaderBytes + queue_.front().payload.size()) {
    front_done_ -= kHeaderBytes + queue_.front().payload.size();
    queue_.pop_front();
  }
}

/// Nothing is left to be sent: when closing, says so to the peer, and then only waits for it to hang up. (Closing at
/// once would reset the connection if bytes of the peer lie unread, and the reset overtakes what was sent last.)
void Connection::drained() {
  if (state_ != State::closing || shut_) return;
  if (tls_ && tls_->established() && !finished_) {
    finished_ = true;
    tls_->finish();
    if (!tls_->output().empty()) return schedule_flush();
  }
  shut_ = true;
  asio::error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
}

void Connection::encryption_failed() {
  queue_.clear();
  queued_ = front_done_ = 0;
  why_ = tls_->why();
  close(Clock::now() + kLinger);
}

void Connection::write_failed(const asio::error_code& error) {
  // What the peer said before it hung up is still there to be read: often the reason.
  read();
  end(words_for(error));
}

}  // namespace tern::dist
