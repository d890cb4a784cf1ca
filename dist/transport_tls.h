#pragma once
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "dist/frame.h"
#include "dist/security.h"

/// TLS without sockets: bytes in, bytes out. Internal to the transport.
namespace tern::dist {

/// What all connections of one side share: versions, ciphers, the token or certificates.
/// Ref: RFC 8446 (TLS 1.3), 4.2.11 (external PSK), 4.2.9 (psk_dhe_ke).
class TlsContext {
 public:
  enum class Side { server, client };

  /// Throws ConfigError naming the certificate, key or authority file that cannot be used. Not for insecure ones.
  TlsContext(const Security& security, Side side);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  SSL_CTX* get() const { return context_; }
  bool server() const { return side_ == Side::server; }
  bool uses_token() const { return token_.has_value(); }
  /// A new session that both sides derive from the token; the caller owns it. Null when memory ran out.
  SSL_SESSION* token_session(SSL* ssl) const;

 private:
  void load_certificates(const Security& security);

  Side side_;
  std::optional<Token> token_;
  SSL_CTX* context_;
};

/// One connection's TLS. Cipher text to be sent collects in output().
class TlsSession {
 public:
  /// A client's `host` is what the server's certificate must name (not looked at with a token). `context` must outlive
  /// it.
  TlsSession(const TlsContext& context, const std::string& host);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  enum class Status { open, closed, broken };  ///< closed: the peer said so; broken: why() says what happened
  /// Takes all of `wire` and writes what it decrypts to the front of `plain`, which has room for as many bytes and one
  /// record more; `count` says how many. A client starts its handshake with an empty `wire`.
  Status feed(Bytes wire, std::span<std::byte> plain, size_t& count);
  bool established() const { return established_; }  ///< the handshake is over and the peer is authentic

  /// Appends records of at most 16 KiB to output(). Only when established. False when OpenSSL failed: why().
  bool encrypt(Bytes plain);
  /// Appends the notice that nothing will follow.
  void finish();
  Bytes output() const { return Bytes(output_).subspan(sent_); }
  void sent(size_t count);

  const std::string& why() const { return why_; }
  /// What a client should think of a server that hangs up during the handshake.
  static const char* hung_up();

 private:
  struct Bio;
  Status handshake();
  Status explain(int result);
  std::string words_for(unsigned long error) const;
  std::string words_for_alert(int alert) const;

  const TlsContext& context_;
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  std::unique_ptr<SSL, Free> ssl_;
  Bytes input_;
  std::vector<std::byte> output_;
  size_t sent_ = 0;
  bool established_ = false;
  std::string why_;
};

}  // namespace tern::dist
