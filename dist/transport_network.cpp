#include "dist/transport_network.h"

#include <asio/error.hpp>
#include <asio/post.hpp>

namespace tern::dist {
namespace {

constexpr auto kTick = std::chrono::milliseconds(50);

}  // namespace

asio::ip::address plain_address(const asio::ip::address& address) {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
}

bool is_loopback(const asio::ip::address& address) { return plain_address(address).is_loopback(); }

std::string name_of(const asio::ip::tcp::endpoint& endpoint) {
  return Address{plain_address(endpoint.address()).to_string(), endpoint.port()}.str();
}

std::string words_for(const std::error_code& error) {
  if (error == asio::error::connection_refused) return "connection refused";
  if (error == asio::error::connection_reset || error == asio::error::broken_pipe) return "connection reset";
  return error.message();
}

Network::Network(const TransportLimits& limits, ConnectionHandler& handler)
    : limits_(limits), handler_(handler), wire_(kReadBytes), plain_(kReadBytes + 2 * kRecordBytes) {}

void Network::start() {
  wait_tick();
  thread_ = std::thread([this] { io_.run(); });
}

void Network::post(std::function<void()> task) { asio::post(io_, std::move(task)); }

void Network::send(ConnectionId id, std::vector<Outgoing> frames) {
  const auto found = connections_.find(id);
  if (found != connections_.end()) found->second->send(std::move(frames));
}

void Network::close(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found != connections_.end()) found->second->close(Clock::now() + kLinger);
}

void Network::adopt(asio::ip::tcp::socket socket, const asio::ip::tcp::endpoint& remote,
                    std::unique_ptr<TlsSession> tls, bool server) {
  const ConnectionId id = ++last_id_;
  const auto connection = std::make_shared<Connection>(*this, id, std::move(socket), remote, std::move(tls), server);
  connections_.emplace(id, connection);
  connection->start();
}

void Network::ended(Connection& connection, const std::string& why) {
  const auto found = connections_.find(connection.id());
  const std::shared_ptr<Connection> last = std::move(found->second);
  connections_.erase(found);
  if (last->was_open()) handler_.disconnected(last->id(), why);
  on_ended(*last, why);
  if (stopping_ && connections_.empty()) io_.stop();
}

void Network::wait_tick() {
  timer_.expires_after(kTick);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) tick();
  });
}

void Network::tick() {
  const Clock::time_point now = Clock::now();
  // A check may end its connection, and the handler that hears of it may do as it likes: so not over the map itself.
  std::vector<std::shared_ptr<Connection>> all;
  all.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->check(now);
  on_tick(now);
  if (!stopping_) handler_.tick();
  wait_tick();
}

void Network::begin_stop(std::chrono::milliseconds linger) {
  stopping_ = true;
  halt();
  if (connections_.empty()) return io_.stop();
  const Clock::time_point now = Clock::now();
  for (const auto& [id, connection] : connections_) connection->close(connection->handshaking() ? now : now + linger);
}

void Network::stop(std::chrono::milliseconds linger) {
  if (!thread_.joinable()) return;
  asio::post(io_, [this, linger] { begin_stop(linger); });
  thread_.join();
}

}  // namespace tern::dist
