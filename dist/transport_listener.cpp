#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <map>

#include "core/error.h"
#include "dist/transport_network.h"

namespace tern::dist {
namespace {

using asio::ip::tcp;

constexpr auto kAcceptAgain = std::chrono::milliseconds(100);  // after the system had no descriptor or memory left

class Listener final : public Network {
 public:
  Listener(const Address& address, const Security& security, const TransportLimits& limits, ConnectionHandler& handler);
  ~Listener() override { stop(std::chrono::milliseconds(0)); }
  uint16_t port() const override { return port_; }

 private:
  std::vector<tcp::endpoint> endpoints_of(const Address& address);
  asio::error_code open(const tcp::endpoint& endpoint);
  void accept();
  void admit(tcp::socket socket);
  void on_ended(Connection& connection, const std::string& why) override;
  void halt() override;

  std::unique_ptr<TlsContext> tls_;  ///< null: plain text
  tcp::acceptor acceptor_{io()};
  asio::steady_timer accept_again_{io()};
  uint16_t port_ = 0;
  std::map<asio::ip::address, int> per_address_;
};

Listener::Listener(const Address& address, const Security& security, const TransportLimits& limits,
                   ConnectionHandler& handler)
    : Network(limits, handler) {
  check(security);
  if (!security.insecure) tls_ = std::make_unique<TlsContext>(security, TlsContext::Side::server);
  const std::vector<tcp::endpoint> endpoints = endpoints_of(address);
  if (security.insecure) {
    for (const tcp::endpoint& endpoint : endpoints)
      if (!is_loopback(endpoint.address()))
        throw ConfigError("--insecure listens on loopback addresses only (127.0.0.1, [::1]): got " + address.str());
  }
  asio::error_code error;
  for (const tcp::endpoint& endpoint : endpoints) {
    error = open(endpoint);
    if (!error) break;
  }
  if (error) throw Error("cannot listen on " + address.str() + ": " + error.message());
  port_ = acceptor_.local_endpoint().port();
  accept();
  start();
}

std::vector<tcp::endpoint> Listener::endpoints_of(const Address& address) {
  if (address.host.empty()) return {{tcp::v6(), address.port}, {tcp::v4(), address.port}};
  tcp::resolver resolver(io());
  asio::error_code error;
  const auto found = resolver.resolve(address.host, std::to_string(address.port), tcp::resolver::passive, error);
  if (error) throw Error("cannot listen on " + address.str() + ": " + error.message());
  std::vector<tcp::endpoint> endpoints;
  for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  return endpoints;
}

asio::error_code Listener::open(const tcp::endpoint& endpoint) {
  asio::error_code error, ignored;
  acceptor_.close(ignored);
  acceptor_.open(endpoint.protocol(), error);
  // All interfaces of IPv6 are those of IPv4 too.
  if (!error && endpoint.address().is_v6()) acceptor_.set_option(asio::ip::v6_only(false), ignored);
  if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  return error;
}

void Listener::accept() {
  acceptor_.async_accept([this](const asio::error_code& error, tcp::socket socket) {
    if (stopping()) return;
    if (!error) {
      admit(std::move(socket));
    } else if (error != asio::error::connection_aborted) {
      accept_again_.expires_after(kAcceptAgain);
      return accept_again_.async_wait([this](const asio::error_code&) {
        if (!stopping()) accept();
      });
    }
    accept();
  });
}

void Listener::admit(tcp::socket socket) {
  asio::error_code error;
  const tcp::endpoint remote = socket.remote_endpoint(error);
  if (error) return;  // gone already
  if (!tls_ && !is_loopback(remote.address())) return;
  int& count = per_address_[plain_address(remote.address())];
  if (count >= limits().per_address || connections() >= static_cast<size_t>(limits().total)) {
    ++this->count().refused_over_limit;
    if (count == 0) per_address_.erase(plain_address(remote.address()));
    return;
  }
  ++count;
  adopt(std::move(socket), remote, tls_ ? std::make_unique<TlsSession>(*tls_, "") : nullptr, true);
}

void Listener::on_ended(Connection& connection, const std::string&) {
  const auto found = per_address_.find(plain_address(connection.remote().address()));
  if (--found->second == 0) per_address_.erase(found);
}

void Listener::halt() {
  asio::error_code ignored;
  acceptor_.close(ignored);
  accept_again_.cancel();
}

}  // namespace

std::unique_ptr<Transport> listen(const Address& address, const Security& security, const TransportLimits& limits,
                                  ConnectionHandler& handler) {
  return std::make_unique<Listener>(address, security, limits, handler);
}

}  // namespace tern::dist
