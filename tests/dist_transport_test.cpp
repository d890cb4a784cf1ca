#include <random>
#include <thread>

#include "core/error.h"
#include "dist/transport.h"
#include "tests/catch.h"
#include "tests/dist_transport_util.h"

using namespace tern;
using namespace tern::dist;
using namespace tern::dist::testing;
using std::chrono::milliseconds;

namespace {

/// Sends back whatever comes, in frames that begin anywhere.
struct Echo {
  explicit Echo(Peer& peer) {
    peer.on_received = [this](ConnectionId id, Bytes bytes) {
      held.insert(held.end(), bytes.begin(), bytes.end());
      if (held.size() < kHeaderBytes) return;
      transport.load()->send(id, frames_of(std::make_shared<std::vector<std::byte>>(std::exchange(held, {}))));
    };
  }
  std::vector<std::byte> held;
  std::atomic<Transport*> transport{nullptr};
};

void check_echo(const Security& server_side, const Security& client_side, const std::string& host) {
  Peer server, client;
  Echo echo(server);
  const auto listener = listen(kAnyPort, server_side, {}, server);
  echo.transport = listener.get();
  const auto dialer = dial({host, listener->port()}, client_side, {}, client, 1);
  const auto sent = random_bytes(5'000'000, 1);
  const ConnectionId id = client.wait_connected();
  REQUIRE(id != 0);
  send(*dialer, id, sent);
  REQUIRE(client.wait([&](const Peer::Heard& h) { return h.bytes.size() >= sent->size(); }));
  CHECK(client.heard().bytes == *sent);
  CHECK(client.heard().connected.size() == 1);
  CHECK(client.heard().ended.empty());
  for (const Transport* side : {listener.get(), dialer.get()}) {
    const TransportCounters& c = side->counters();
    CHECK(c.bytes_in == sent->size());
    CHECK(c.bytes_out == sent->size());
    const uint64_t overhead = server_side.insecure ? 0 : 22 * (sent->size() / 16384);
    CHECK(c.wire_bytes_in >= sent->size() + overhead);
    CHECK(c.wire_bytes_out >= sent->size() + overhead);
    CHECK(c.wire_bytes_out < sent->size() * 102 / 100 + 10000);
  }
  dialer->stop();
  CHECK(server.wait_ended() == "closed by the peer");
  CHECK(client.wait_ended() == "closed");
  listener->stop();
}

}  // namespace

TEST_CASE("transport: 5 MB there and back, in plain text and with TLS", "[dist]") {
  SECTION("plain text") { check_echo(insecure(), insecure(), "127.0.0.1"); }
  SECTION("plain text, by name") { check_echo(insecure(), insecure(), "localhost"); }
  SECTION("a token") { check_echo(with_token(), with_token(), "127.0.0.1"); }
  SECTION("a token, by name") { check_echo(with_token(), with_token(), "localhost"); }
  const Authority authority;
  SECTION("certificates, by address") { check_echo(authority.server(), authority.client(), "127.0.0.1"); }
  SECTION("certificates, by name") { check_echo(authority.server(), authority.client(), "localhost"); }
}

TEST_CASE("transport: close and stop send what is queued first", "[dist]") {
  const Security security = GENERATE(0, 1) ? with_token() : insecure();
  const bool stop = GENERATE(false, true);
  Peer server, client;
  const auto listener = listen(kAnyPort, security, {}, server);
  const auto dialer = dial(local(listener->port()), security, {}, client, 1);
  const auto sent = random_bytes(3'000'000, 2);
  REQUIRE(client.wait_connected() != 0);
  const ConnectionId id = server.wait_connected();
  send(*listener, id, sent);
  if (stop) {
    listener->stop(kPatience);
  } else {
    listener->post([&] { listener->close(id); });
  }
  CHECK(client.wait_ended() == "closed by the peer");
  CHECK(client.heard().bytes == *sent);
  CHECK(server.wait_ended() == "closed");
  // After a close() nothing is received and nothing more is sent.
  if (!stop) send(*listener, id, sent);
  CHECK(server.heard().bytes.empty());
}

TEST_CASE("transport: a peer that never hangs up does not hold up stop", "[dist]") {
  Peer server;
  auto listener = listen(kAnyPort, insecure(), {}, server);
  RawClient silent(listener->port());
  REQUIRE(server.wait_connected() != 0);
  listener->stop(milliseconds(100));
  CHECK(server.wait_ended() == "closed");
  listener.reset();
}

TEST_CASE("transport: transports can be destroyed at any moment", "[dist]") {
  for (int i = 0; i < 20; ++i) {
    Peer server, client;
    auto listener = listen(kAnyPort, with_token(), {}, server);
    auto dialer = dial(local(listener->port()), with_token(), {}, client, 1);
    std::this_thread::sleep_for(std::chrono::microseconds(200 * i));
    if (i % 2 == 0) {
      listener.reset();
    } else {
      dialer.reset();
    }
  }
}

TEST_CASE("transport: tasks run in order, from any thread, and ticks come", "[dist]") {
  Peer server;
  const auto listener = listen(kAnyPort, insecure(), {}, server);
  std::vector<int> order;  // of the network thread alone
  std::atomic<int> others{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) listener->post([&] { ++others; });
    });
  for (int i = 0; i < 100; ++i) listener->post([&order, i] { order.push_back(i); });
  for (std::thread& thread : threads) thread.join();
  CHECK(server.wait([](const Peer::Heard& h) { return h.ticks >= 3; }));
  listener->stop();
  CHECK(others == 400);
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(order[static_cast<size_t>(i)] == i);
}

TEST_CASE("transport: a dialer finds the server that came back on its port", "[dist]") {
  Peer client, first, second;
  auto listener = listen(kAnyPort, with_token(), {}, first);
  const Address address = local(listener->port());
  const auto dialer = dial(address, with_token(), {}, client, 3);
  const ConnectionId before = client.wait_connected(1);
  REQUIRE(before != 0);
  listener.reset();
  CHECK(client.wait_ended() == "closed by the peer");
  CHECK(client.wait_ended(2) == "connection refused");

  listener = listen(address, with_token(), {}, second);
  const ConnectionId after = client.wait_connected(2);
  CHECK(after > before);
  CHECK(client.heard().ended[0].id == before);
  CHECK(client.heard().ended[1].id == 0);
  // What is sent to the old connection goes nowhere.
  const auto lost = random_bytes(1000, 3), kept = random_bytes(1000, 4);
  send(*dialer, before, lost);
  send(*dialer, after, kept);
  CHECK(second.wait([&](const Peer::Heard& h) { return h.bytes.size() >= kept->size(); }));
  CHECK(second.heard().bytes == *kept);
}

TEST_CASE("transport: 100 connections that come and go at random instants leave nothing behind", "[dist]") {
  const Security security = GENERATE(0, 1) ? with_token() : insecure();
  Peer server;
  Echo echo(server);
  const auto listener = listen(kAnyPort, security, {}, server);
  echo.transport = listener.get();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 25; ++i) {
        const auto pause = std::chrono::microseconds(random() % 5000);
        if (i % 2 == 0) {
          RawClient client(listener->port());
          client.send(std::string(random() % 300, static_cast<char>(random())));
          std::this_thread::sleep_for(pause);
          if (random() % 2 == 0) client.reset();
        } else {
          Peer peer;
          Transport* own = nullptr;
          const auto bytes = random_bytes(1 + kHeaderBytes + random() % 300000, t);
          peer.on_connected = [&](ConnectionId id) {
            if (own) own->send(id, frames_of(bytes));
          };
          const auto dialer = dial(local(listener->port()), security, {}, peer, t);
          dialer->post([&] { own = dialer.get(); });
          std::this_thread::sleep_for(pause);
          if (random() % 2 == 0) dialer->stop(milliseconds(random() % 20));
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  // Every connection that began has ended, and a good client is served as before.
  CHECK(server.wait([](const Peer::Heard& h) { return h.ended.size() == h.connected.size(); }));
  listener->post([&] { echo.held.clear(); });
  Peer good;
  const auto dialer = dial(local(listener->port()), security, {}, good, 1);
  const auto sent = random_bytes(100'000, 9);
  send(*dialer, good.wait_connected(), sent);
  CHECK(good.wait([&](const Peer::Heard& h) { return h.bytes.size() >= sent->size(); }));
  CHECK(good.heard().bytes == *sent);
}

TEST_CASE("transport: addresses as people write them", "[dist]") {
  const auto parse = [](const std::string& text) { return parse_address(text, "--listen"); };
  CHECK(parse("localhost:80").host == "localhost");
  CHECK(parse("localhost:80").port == 80);
  CHECK(parse("10.0.0.1:65535").str() == "10.0.0.1:65535");
  CHECK(parse("[::1]:4000").host == "::1");
  CHECK(parse("[::1]:4000").str() == "[::1]:4000");
  CHECK(parse(":4000").host.empty());
  CHECK(parse("host:0").port == 0);
  for (const char* text : {"", "localhost", "localhost:", "localhost:x", "localhost:-1", "localhost:65536",
                           "localhost:80 ", "::1:80", "[::1]", "[::1]80", "[]:80", "[localhost]:80", "a b:80",
                           "http://host:80", "x@y:80", "a:1:2", "host:0x50", "host:99999999999999999999"}) {
    INFO(text);
    CHECK_THROWS_AS(parse(text), ConfigError);
    CHECK_THROWS_WITH(parse(text),
                      HasText("--listen") && HasText("\"" + std::string(text) + "\"") && HasText("HOST:PORT"));
  }
}
