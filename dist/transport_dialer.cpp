#include <random>

#include "core/error.h"
#include "dist/transport_network.h"
#include "dist/transport_resolver.h"

namespace tern::dist {
namespace {

using asio::ip::tcp;
using std::chrono::milliseconds;

constexpr milliseconds kFirstDelay{100}, kLongestDelay{5000};
constexpr milliseconds kSuccess{2000};  // a connection that ends before was none: a server that hangs up must not be flooded

/// One attempt after the other: look up the name, connect to its addresses in turn until one answers, hand the socket
/// over as a connection, wait until that has ended, wait a while.
class Dialer final : public Network {
 public:
  Dialer(const Address& address, const Security& security, const TransportLimits& limits, ConnectionHandler& handler,
         uint64_t seed);
  ~Dialer() override { stop(milliseconds(0)); }
  uint16_t port() const override { return 0; }

 private:
  void look_up();
  void looked_up(const std::error_code& error, std::vector<tcp::endpoint> endpoints);
  void connect_next();
  void connected_or_not(const asio::error_code& error);
  void failed(const std::string& why);
  void again_later();
  void on_tick(Clock::time_point now) override;
  void on_ended(Connection& connection, const std::string& why) override;
  void halt() override;

  const Address address_;
  std::unique_ptr<TlsContext> tls_;  ///< null: plain text
  Resolver resolver_{io()};
  std::vector<tcp::endpoint> endpoints_;  ///< of the name
  size_t next_endpoint_ = 0;
  tcp::socket socket_{io()};  ///< while it connects
  bool connecting_ = false, timed_out_ = false;
  Clock::time_point deadline_;  ///< of connecting
  asio::steady_timer retry_{io()};
  milliseconds delay_ = kFirstDelay;
  std::mt19937_64 random_;
};

Dialer::Dialer(const Address& address, const Security& security, const TransportLimits& limits,
               ConnectionHandler& handler, uint64_t seed)
    : Network(limits, handler), address_(address), random_(seed) {
  check(security);
  if (address.host.empty() || address.port == 0)
    throw ConfigError("cannot connect to \"" + address.str() + "\": wanted HOST:PORT of a server");
  if (!security.insecure) {
    tls_ = std::make_unique<TlsContext>(security, TlsContext::Side::client);
  } else {
    asio::error_code a_name;
    const asio::ip::address literal = asio::ip::make_address(address.host, a_name);
    if (!a_name && !is_loopback(literal))
      throw ConfigError("--insecure connects to loopback addresses only (127.0.0.1, [::1]): got " + address.str());
  }
  post([this] { look_up(); });
  start();
}

void Dialer::look_up() {
  if (stopping()) return;
  resolver_.resolve(address_, [this](const std::error_code& error, std::vector<tcp::endpoint> endpoints) {
    looked_up(error, std::move(endpoints));
  });
}

void Dialer::looked_up(const std::error_code& error, std::vector<tcp::endpoint> endpoints) {
  if (stopping()) return;
  if (error || endpoints.empty()) {
    const bool unknown = !error || error == asio::error::host_not_found || error == asio::error::no_data;
    return failed("the name \"" + address_.host + "\" " +
                  (unknown ? "is unknown" : "cannot be looked up: " + error.message()));
  }
  if (!tls_) {
    std::erase_if(endpoints, [](const tcp::endpoint& e) { return !is_loopback(e.address()); });
    if (endpoints.empty())
      return failed("--insecure connects to loopback addresses only, and \"" + address_.host + "\" is none");
  }
  endpoints_ = std::move(endpoints);
  next_endpoint_ = 0;
  connect_next();
}

void Dialer::connect_next() {
  socket_ = tcp::socket(io());
  connecting_ = true;
  timed_out_ = false;
  deadline_ = Clock::now() + limits().handshake;
  socket_.async_connect(endpoints_[next_endpoint_++],
                        [this](const asio::error_code& error) { connected_or_not(error); });
}

void Dialer::connected_or_not(const asio::error_code& error) {
  connecting_ = false;
  if (stopping()) return;
  if (!error && !timed_out_) {
    auto tls = tls_ ? std::make_unique<TlsSession>(*tls_, address_.host) : nullptr;
    return adopt(std::move(socket_), endpoints_[next_endpoint_ - 1], std::move(tls), false);
  }
  if (next_endpoint_ < endpoints_.size()) return connect_next();
  failed(timed_out_ ? "no answer to the attempt to connect" : words_for(error));
}

void Dialer::failed(const std::string& why) {
  handler().disconnected(0, why);
  again_later();
}

void Dialer::again_later() {
  // Up to half of the delay is left out at random, so that workers who lost one server do not return all at once.
  std::uniform_int_distribution<int64_t> less(0, delay_.count() / 2);
  retry_.expires_after(delay_ - milliseconds(less(random_)));
  delay_ = std::min(2 * delay_, kLongestDelay);
  retry_.async_wait([this](const asio::error_code& error) {
    if (!error) look_up();
  });
}

void Dialer::on_tick(Clock::time_point now) {
  if (!connecting_ || now < deadline_) return;
  timed_out_ = true;
  asio::error_code ignored;
  socket_.close(ignored);  // async_connect then ends
}

void Dialer::on_ended(Connection& connection, const std::string& why) {
  if (stopping()) return;
  if (connection.has_received() && Clock::now() - connection.since() >= kSuccess) delay_ = kFirstDelay;
  connection.was_open() ? again_later() : failed(why);
}

void Dialer::halt() {
  asio::error_code ignored;
  socket_.close(ignored);
  retry_.cancel();
}

}  // namespace

std::unique_ptr<Transport> dial(const Address& address, const Security& security, const TransportLimits& limits,
                                ConnectionHandler& handler, uint64_t seed) {
  return std::make_unique<Dialer>(address, security, limits, handler, seed);
}

}  // namespace tern::dist
