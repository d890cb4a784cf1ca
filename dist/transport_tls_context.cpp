#include <openssl/crypto.h>
#include <openssl/err.h>

#include <cstring>

#include "core/error.h"
#include "dist/transport_tls.h"

namespace tern::dist {
namespace {

/// Both sides name the token so. A name derived from the token would only tell listeners which runs share one.
constexpr std::string_view kIdentity = "tern";
constexpr unsigned char kCipherId[] = {0x13, 0x01};  // TLS_AES_128_GCM_SHA256

const TlsContext& context_of(SSL* ssl) {
  return *static_cast<const TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

/// A server's lookup of the identity that a client offers. None found: it goes on without, and fails for want of a
/// certificate.
int find_token(SSL* ssl, const unsigned char* identity, size_t size, SSL_SESSION** session) {
  *session = nullptr;
  if (std::string_view(reinterpret_cast<const char*>(identity), size) != kIdentity) return 1;
  *session = context_of(ssl).token_session(ssl);
  return *session != nullptr;
}

/// A client's offer. `digest` is set when the server asks again (HelloRetryRequest) for a cipher of that hash.
int offer_token(SSL* ssl, const EVP_MD* digest, const unsigned char** identity, size_t* size, SSL_SESSION** session) {
  *session = nullptr;
  if (digest != nullptr && !EVP_MD_is_a(digest, "SHA256")) return 1;
  *identity = reinterpret_cast<const unsigned char*>(kIdentity.data());
  *size = kIdentity.size();
  *session = context_of(ssl).token_session(ssl);
  return *session != nullptr;
}

/// No question on the terminal for a key's pass phrase: such a key is an error.
int no_pass_phrase(char*, int, int, void*) { return -1; }

[[noreturn]] void refuse_file(const std::string& what, const std::string& file) {
  const unsigned long error = ERR_peek_error();  // the first is the cause, later ones say where it passed
  const char* reason = ERR_reason_error_string(error);
  const std::string why = ERR_SYSTEM_ERROR(error) ? std::strerror(ERR_GET_REASON(error))
                          : reason                ? reason
                                                  : "no reason";
  ERR_clear_error();
  throw ConfigError(what + " " + file + ": cannot be used: " + why);
}

}  // namespace

TlsContext::TlsContext(const Security& security, Side side)
    : side_(side),
      token_(security.token),
      context_(SSL_CTX_new(side == Side::server ? TLS_server_method() : TLS_client_method())) {
  if (context_ == nullptr) throw Error("TLS: OpenSSL cannot be set up");
  try {
    SSL_CTX_set_app_data(context_, this);
    // No tickets, no session cache: every connection proves anew that it knows the token or owns the key.
    SSL_CTX_set_options(context_, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
    if (!SSL_CTX_set_num_tickets(context_, 0) || !SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION) ||
        !SSL_CTX_set_max_proto_version(context_, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(context_, "TLS_AES_128_GCM_SHA256") ||
        !SSL_CTX_set1_groups_list(context_, "X25519:P-256")) {
      throw Error("TLS: this OpenSSL has no TLS 1.3 with TLS_AES_128_GCM_SHA256 and X25519");
    }
    // A client with a token trusts no certificate: a server that shows one instead of knowing the token is refused.
    // A server with a token asks for none.
    if (!token_ || !server()) SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    if (!token_) {
      load_certificates(security);
    } else if (server()) {
      SSL_CTX_set_psk_find_session_callback(context_, find_token);
    } else {
      SSL_CTX_set_psk_use_session_callback(context_, offer_token);
    }
  } catch (...) {
    SSL_CTX_free(context_);
    throw;
  }
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
  if (token_) OPENSSL_cleanse(token_->key.data(), token_->key.size());
}

void TlsContext::load_certificates(const Security& security) {
  ERR_clear_error();
  SSL_CTX_set_default_passwd_cb(context_, no_pass_phrase);
  if (SSL_CTX_use_certificate_chain_file(context_, security.certificate.c_str()) != 1)
    refuse_file("certificate", security.certificate);
  if (SSL_CTX_use_PrivateKey_file(context_, security.key.c_str(), SSL_FILETYPE_PEM) != 1)
    refuse_file("key", security.key);
  if (SSL_CTX_check_private_key(context_) != 1) refuse_file("key", security.key);
  if (SSL_CTX_load_verify_locations(context_, security.authority.c_str(), nullptr) != 1)
    refuse_file("authority", security.authority);
}

SSL_SESSION* TlsContext::token_session(SSL* ssl) const {
  SSL_SESSION* session = SSL_SESSION_new();
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kCipherId);
  if (session != nullptr && cipher != nullptr &&
      SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(token_->key.data()),
                                  token_->key.size()) == 1 &&
      SSL_SESSION_set_cipher(session, cipher) == 1 && SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1) {
    return session;
  }
  SSL_SESSION_free(session);
  return nullptr;
}

}  // namespace tern::dist
