// What the transport must refuse, bound and survive.
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "core/error.h"
#include "dist/transport.h"
#include "tests/catch.h"
#include "tests/dist_transport_util.h"
#include "tests/programs.h"

using namespace tern;
using namespace tern::dist;
using namespace tern::dist::testing;
using std::chrono::milliseconds;

namespace {

/// A good client is served: what came before did no harm.
void check_serves(Transport& listener, Peer& server, const Security& security) {
  Peer client;
  const auto dialer = dial(local(listener.port()), security, {}, client, 1);
  const ConnectionId id = client.wait_connected();
  REQUIRE(id != 0);
  const size_t before = server.heard().bytes.size();
  send(*dialer, id, random_bytes(100, 1));
  CHECK(server.wait([&](const Peer::Heard& h) { return h.bytes.size() == before + 100; }));
}

/// The server lets nobody in, counts it, and the client is told why.
void check_refused(const Security& server_side, const Security& client_side, const std::string& says) {
  Peer server, client;
  const auto listener = listen(kAnyPort, server_side, {}, server);
  client.on_connected = [](ConnectionId) {};
  {
    const auto dialer = dial(local(listener->port()), client_side, {}, client, 1);
    CHECK_THAT(client.wait_ended(), HasText(says));
    CHECK(client.heard().ended[0].id == 0);
    CHECK(client.heard().connected.empty());
    CHECK(wait_count(listener->counters().handshakes_failed, 1));
    client.wait_ended(2);  // it tries again
  }
  if (!server_side.insecure) CHECK(server.heard().connected.empty());
  CHECK(server.heard().bytes.empty());
}

}  // namespace

TEST_CASE("transport: who cannot prove itself is refused, and told why", "[dist]") {
  const Authority authority, stranger;
  SECTION("another token") { check_refused(with_token(1), with_token(2), "the server does not know this token"); }
  SECTION("a token, no TLS there") { check_refused(insecure(), with_token(), "--insecure"); }
  SECTION("certificates, no TLS there") { check_refused(insecure(), authority.client(), "--insecure"); }
  SECTION("a token where certificates are wanted") {
    check_refused(authority.server(), with_token(), "the server shows a certificate");
  }
  SECTION("certificates where a token is wanted") {
    check_refused(with_token(), authority.client(), "does it want --token-file?");
  }
  SECTION("a server that another authority vouches for") {
    check_refused(stranger.server(), authority.client(), "the server's certificate is not trusted");
  }
  SECTION("a server whose certificate names another host") {
    check_refused(authority.elsewhere(), authority.client(), "mismatch");
  }
}

TEST_CASE("transport: a client that another authority vouches for is not let in", "[dist]") {
  const Authority authority, stranger;
  Security client_side = stranger.client();
  client_side.authority = authority.client().authority;  // it trusts the server, but not the other way round
  Peer server, client;
  const auto listener = listen(kAnyPort, authority.server(), {}, server);
  const auto dialer = dial(local(listener->port()), client_side, {}, client, 1);
  // Its own part of the handshake is over before the server looks at its certificate.
  CHECK_THAT(client.wait_ended(), HasText("the server does not accept this certificate"));
  CHECK(wait_count(listener->counters().handshakes_failed, 1));
  CHECK(server.heard().connected.empty());
}

TEST_CASE("transport: plain text to a TLS port ends in a counter", "[dist]") {
  Peer server;
  const auto listener = listen(kAnyPort, with_token(), {}, server);
  std::mt19937_64 random(1);
  std::string noise(5000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  const std::vector<std::string> wrong = {
      std::string("\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.", 14),  // a pickle
      std::string("\x00\x00\x00\x0e{\"type\": \"hi\"}", 18),
      "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
      noise,
      std::string("\x16\x03\x01\xff\xff", 5) + noise,                       // a record longer than any
      std::string("\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", 10) + noise,  // a handshake message of 16 MB
      std::string("\x17\x03\x03\x00\x10", 5) + noise.substr(0, 16),         // data before the handshake
      std::string(100000, '\0')};
  uint64_t failed = 0;
  for (const std::string& bytes : wrong) {
    RawClient client(listener->port());
    client.send(bytes);
    ::shutdown(client.fd(), SHUT_WR);
    CHECK(client.hung_up());
    CHECK(wait_count(listener->counters().handshakes_failed, ++failed));
  }
  CHECK(server.heard().connected.empty());
  check_serves(*listener, server, with_token());
}

TEST_CASE("transport: a plain client of a TLS server gets no further", "[dist]") {
  Peer server, client;
  const auto listener = listen(kAnyPort, with_token(), {}, server);
  const auto dialer = dial(local(listener->port()), insecure(), {}, client, 1);
  send(*dialer, client.wait_connected(), random_bytes(1000, 1));
  CHECK_THAT(client.wait_ended(), HasText("the server speaks TLS"));
  CHECK(wait_count(listener->counters().handshakes_failed, 1));
  CHECK(server.heard().connected.empty());
}

TEST_CASE("transport: TLS 1.2 is refused", "[dist]") {
  const Authority authority;
  Peer server;
  const auto listener = listen(kAnyPort, authority.server(), {}, server);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    RawClient client(listener->port());
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(context, version);
    const Security own = authority.client();
    REQUIRE(SSL_CTX_use_certificate_file(context, own.certificate.c_str(), SSL_FILETYPE_PEM) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(context, own.key.c_str(), SSL_FILETYPE_PEM) == 1);
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, client.fd());
    CHECK((SSL_connect(ssl) == 1) == (version == TLS1_3_VERSION));
    SSL_free(ssl);
    SSL_CTX_free(context);
    if (version == TLS1_2_VERSION) CHECK(wait_count(listener->counters().handshakes_failed, 1));
  }
  CHECK(server.wait_connected() != 0);
  CHECK(listener->counters().handshakes_failed == 1);
}

TEST_CASE("transport: a handshake that takes too long is cut off", "[dist]") {
  Peer server;
  const auto listener = listen(kAnyPort, with_token(), {.handshake = milliseconds(150)}, server);
  RawClient silent(listener->port()), slow(listener->port());
  slow.send("\x16");
  CHECK(silent.hung_up());
  CHECK(slow.hung_up());
  CHECK(wait_count(listener->counters().handshakes_timed_out, 2));
  CHECK(listener->counters().handshakes_failed == 0);

  SECTION("a server that accepts and says nothing is left") {
    const int mute = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::listen(mute, 4) == 0);
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    ::getsockname(mute, reinterpret_cast<sockaddr*>(&name), &size);
    Peer client;
    const uint16_t port = ntohs(reinterpret_cast<const sockaddr_in*>(&name)->sin_port);
    const auto dialer = dial(local(port), with_token(), {.handshake = milliseconds(100)}, client, 1);
    CHECK_THAT(client.wait_ended(), HasText("handshake took longer than 100 ms"));
    ::close(mute);
  }
}

TEST_CASE("transport: connections are capped by address and in total, and a place that is free again is given",
          "[dist]") {
  const bool total = GENERATE(false, true);
  const TransportLimits limits{.per_address = total ? 64 : 3, .total = total ? 3 : 64};
  Peer server;
  const auto listener = listen(kAnyPort, with_token(), limits, server);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(std::make_unique<RawClient>(listener->port()));
  RawClient fourth(listener->port());
  CHECK(fourth.read_to_end().empty());
  CHECK(listener->counters().refused_over_limit == 1);
  clients.clear();
  CHECK(wait_count(listener->counters().handshakes_failed, 3));  // their places are free
  check_serves(*listener, server, with_token());
  CHECK(listener->counters().refused_over_limit == 1);
}

TEST_CASE("transport: a peer that does not read is closed: over the queue's bound, or when nothing moves", "[dist]") {
  const bool stalls = GENERATE(false, true);
  TransportLimits limits;
  if (stalls) {
    limits.stalled = milliseconds(200);
  } else {
    limits.send_queue = 1 << 20;
  }
  Peer server;
  const auto listener = listen(kAnyPort, insecure(), limits, server);
  RawClient client(listener->port());
  const ConnectionId id = server.wait_connected();
  // More than the system's own buffers of both ends can hold.
  for (int i = 0; i < 32; ++i) send(*listener, id, random_bytes(1 << 20, 1));
  CHECK_THAT(server.wait_ended(), HasText(stalls ? "nothing could be sent for 200 ms" : "more than 1048576 bytes"));
  CHECK(server.heard().ended.size() == 1);
  CHECK(listener->counters().stalled == (stalls ? 1 : 0));
}

TEST_CASE("transport: what is sent at once may be larger than the queue's bound", "[dist]") {
  TransportLimits limits;
  limits.send_queue = 1 << 20;
  Peer server, client;
  const auto listener = listen(kAnyPort, with_token(), limits, server);
  const auto dialer = dial(local(listener->port()), with_token(), {}, client, 1);
  const ConnectionId id = server.wait_connected();
  const auto large = random_bytes(8 << 20, 1);
  send(*listener, id, large);
  CHECK(client.wait([&](const Peer::Heard& h) { return h.bytes.size() >= large->size(); }));
  CHECK(client.heard().bytes == *large);
}

TEST_CASE("transport: a reset in the middle of a frame ends that connection alone", "[dist]") {
  Peer server;
  const auto listener = listen(kAnyPort, insecure(), {}, server);
  RawClient steady(listener->port());
  REQUIRE(server.wait_connected() != 0);
  RawClient hasty(listener->port());
  const ConnectionId id = server.wait_connected(2);
  hasty.send(std::string(1000, 'x'));
  REQUIRE(server.wait([](const Peer::Heard& h) { return h.bytes.size() == 1000; }));
  hasty.reset();
  CHECK(server.wait_ended() == "connection reset");
  CHECK(server.heard().ended[0].id == id);
  steady.send("abc");
  CHECK(server.wait([](const Peer::Heard& h) { return h.bytes.size() == 1003; }));
  CHECK(server.heard().ended.size() == 1);
}

TEST_CASE("transport: plain text stays on the machine", "[dist]") {
  Peer peer;
  for (const char* host : {"0.0.0.0", "", "::", "192.0.2.1", "::ffff:192.0.2.1"}) {
    INFO(host);
    CHECK_THROWS_AS(listen({host, 0}, insecure(), {}, peer), ConfigError);
    CHECK_THROWS_AS(dial({host, 1}, insecure(), {}, peer, 1), ConfigError);
  }
  CHECK_NOTHROW(listen({"localhost", 0}, insecure(), {}, peer));
  CHECK_THROWS_AS(listen(kAnyPort, Security{}, {}, peer), ConfigError);
}

TEST_CASE("transport: what cannot be listened on or reached is said in plain words", "[dist]") {
  Peer server, client;
  const auto listener = listen({"", 0}, with_token(), {}, server);
  CHECK_THROWS_WITH(listen({"", listener->port()}, with_token(), {}, client), HasText("cannot listen on :"));
  CHECK_THROWS_WITH(listen({"192.0.2.1", 0}, with_token(), {}, client), HasText("cannot listen on 192.0.2.1:0: "));
  {
    Peer nobody;
    const auto dialer = dial({"not..a.name", 1}, with_token(), {}, nobody, 1);
    CHECK_THAT(nobody.wait_ended(), HasText("the name \"not..a.name\""));
  }
  {
    Peer both;  // all interfaces: IPv4 too
    const auto dialer = dial(local(listener->port()), with_token(), {}, both, 1);
    CHECK(both.wait_connected() != 0);
  }
  const uint16_t port = listener->port();
  listener->stop();
  Peer refused;
  const auto dialer = dial(local(port), with_token(), {}, refused, 1);
  CHECK(refused.wait_ended() == "connection refused");
}

TEST_CASE("transport: certificate files that cannot be used are named", "[dist]") {
  const Authority authority, stranger;
  Peer peer;
  const test::TempDir dir;
  test::write_file(dir / "text", "no PEM");
  const std::string text = (dir / "text").string(), none = (dir / "none").string();
  const auto refuses = [&](const Security& security, const std::string& says) {
    CHECK_THROWS_AS(listen(kAnyPort, security, {}, peer), ConfigError);
    CHECK_THROWS_WITH(listen(kAnyPort, security, {}, peer), HasText(says));
    CHECK_THROWS_WITH(dial(local(1), security, {}, peer, 1), HasText(says));
  };
  for (const std::string& file : {text, none}) {
    Security security = authority.server();
    security.certificate = file;
    refuses(security, "certificate " + file + ": cannot be used: ");
    security = authority.server();
    security.key = file;
    refuses(security, "key " + file + ": cannot be used: ");
    security = authority.server();
    security.authority = file;
    refuses(security, "authority " + file + ": cannot be used: ");
  }
  Security security = authority.server();
  security.certificate = none;
  refuses(security, "No such file or directory");
  security = authority.server();
  security.key = stranger.server().key;
  refuses(security, "key values mismatch");
}
