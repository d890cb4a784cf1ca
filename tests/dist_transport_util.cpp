#include "tests/dist_transport_util.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <random>
#include <stdexcept>
#include <thread>

namespace tern::dist::testing {

void Peer::connected(ConnectionId id, const std::string&) {
  note([&](Heard& h) { h.connected.push_back(id); });
  if (on_connected) on_connected(id);
}

void Peer::received(ConnectionId id, Bytes bytes) {
  if (on_received) return on_received(id, bytes);
  note([&](Heard& h) { h.bytes.insert(h.bytes.end(), bytes.begin(), bytes.end()); });
}

void Peer::disconnected(ConnectionId id, const std::string& why) {
  note([&](Heard& h) { h.ended.push_back({id, why}); });
}

void Peer::tick() {
  note([](Heard& h) { ++h.ticks; });
}

bool Peer::wait(const std::function<bool(const Heard&)>& enough) {
  std::unique_lock lock(mutex_);
  return news_.wait_for(lock, kPatience, [&] { return enough(heard_); });
}

Peer::Heard Peer::heard() const {
  const std::lock_guard lock(mutex_);
  return heard_;
}

ConnectionId Peer::wait_connected(size_t count) {
  return wait([&](const Heard& h) { return h.connected.size() >= count; }) ? heard().connected[count - 1] : 0;
}

std::string Peer::wait_ended(size_t count) {
  return wait([&](const Heard& h) { return h.ended.size() >= count; }) ? heard().ended[count - 1].why : "did not end";
}

std::shared_ptr<const std::vector<std::byte>> random_bytes(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  auto bytes = std::make_shared<std::vector<std::byte>>(count);
  for (std::byte& b : *bytes) b = static_cast<std::byte>(random());
  return bytes;
}

std::vector<Outgoing> frames_of(std::shared_ptr<const std::vector<std::byte>> bytes) {
  constexpr size_t kLengths[] = {0, 1, 16336, 16337, 100, 65536, 1 << 20, 16384, 0, 48, 333333};
  std::vector<Outgoing> frames;
  for (size_t at = 0; at < bytes->size();) {
    Outgoing frame{.header = {}, .payload = {}, .keep = bytes};
    std::copy_n(bytes->begin() + static_cast<ptrdiff_t>(at), kHeaderBytes, frame.header.begin());
    at += kHeaderBytes;
    size_t length = std::min(kLengths[frames.size() % std::size(kLengths)], bytes->size() - at);
    if (bytes->size() - at - length < kHeaderBytes) length = bytes->size() - at;  // the rest would make no frame
    frame.payload = Bytes(*bytes).subspan(at, length);
    at += length;
    frames.push_back(std::move(frame));
  }
  return frames;
}

void send(Transport& transport, ConnectionId id, std::shared_ptr<const std::vector<std::byte>> bytes) {
  transport.post([&transport, id, bytes = std::move(bytes)] { transport.send(id, frames_of(bytes)); });
}

bool wait_count(const std::atomic<uint64_t>& counter, uint64_t value) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (counter < value && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return counter >= value;
}

Security insecure() {
  Security security;
  security.insecure = true;
  return security;
}

Security with_token(int byte) {
  Security security;
  security.token.emplace().key.fill(static_cast<std::byte>(byte));
  return security;
}

namespace {

struct KeyPair {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  KeyPair() = default;
  KeyPair(const KeyPair&) = delete;
  KeyPair& operator=(const KeyPair&) = delete;
  ~KeyPair() {
    EVP_PKEY_free(key);
    X509_free(certificate);
  }
};

void add_extension(X509* certificate, int kind, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
  if (!extension || X509_add_ext(certificate, extension, -1) != 1) throw std::runtime_error("no certificate");
  X509_EXTENSION_free(extension);
}

void sign(KeyPair& pair, const std::string& name, long serial, const char* names, KeyPair& issuer) {
  X509* c = pair.certificate;
  X509_set_version(c, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(c), serial);
  X509_gmtime_adj(X509_getm_notBefore(c), -3600);
  X509_gmtime_adj(X509_getm_notAfter(c), 86400);
  X509_set_pubkey(c, pair.key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(c, X509_get_subject_name(issuer.certificate));
  if (names) add_extension(c, NID_subject_alt_name, names);
  add_extension(c, NID_basic_constraints, &pair == &issuer ? "critical,CA:TRUE" : "CA:FALSE");
  if (X509_sign(c, issuer.key, EVP_sha256()) == 0) throw std::runtime_error("no signature");
}

void write(const KeyPair& pair, const std::filesystem::path& stem) {
  FILE* out = std::fopen((stem.string() + ".key").c_str(), "w");
  PEM_write_PrivateKey(out, pair.key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(out);
  out = std::fopen((stem.string() + ".pem").c_str(), "w");
  PEM_write_X509(out, pair.certificate);
  std::fclose(out);
}

}  // namespace

Authority::Authority() {
  KeyPair authority;
  sign(authority, "authority", 1, nullptr, authority);
  write(authority, dir_ / "authority");
  long serial = 2;
  for (const auto& [name, names] : {std::pair{"server", "DNS:localhost,IP:127.0.0.1,IP:::1"},
                                    {"client", "DNS:client"},
                                    {"elsewhere", "DNS:elsewhere.example"}}) {
    KeyPair pair;
    sign(pair, name, serial++, names, authority);
    write(pair, dir_ / name);
  }
}

Security Authority::security(const std::string& name) const {
  Security security;
  security.certificate = (dir_ / (name + ".pem")).string();
  security.key = (dir_ / (name + ".key")).string();
  security.authority = (dir_ / "authority.pem").string();
  return security;
}

RawClient::RawClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect to the port of a test");
}

RawClient::~RawClient() {
  if (fd_ >= 0) ::close(fd_);
}

void RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the peer hung up, as some tests want
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string RawClient::read_to_end() {
  std::string all;
  char buffer[4096];
  while (true) {
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) <= 0) return "timed out";
    const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) return all;
    all.append(buffer, static_cast<size_t>(got));
  }
}

void RawClient::reset() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(fd_);
  fd_ = -1;
}

}  // namespace tern::dist::testing
