#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "dist/transport_tls.h"

namespace tern::dist {
namespace {

constexpr size_t kKept = size_t{256} << 10;  // bytes that were sent, before their place is given back

}  // namespace

/// Where OpenSSL reads and writes: the session's two buffers. It never blocks on writing, so several records become one
/// call to the system, and OpenSSL's own memory BIO, which clears and moves what it holds, is not needed.
struct TlsSession::Bio {
  static int write(BIO* bio, const char* data, size_t size, size_t* written) {
    auto& output = static_cast<TlsSession*>(BIO_get_data(bio))->output_;
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    output.insert(output.end(), bytes, bytes + size);
    *written = size;
    return 1;
  }

  static int read(BIO* bio, char* data, size_t size, size_t* got) {
    Bytes& input = static_cast<TlsSession*>(BIO_get_data(bio))->input_;
    BIO_clear_retry_flags(bio);
    *got = std::min(size, input.size());
    if (*got == 0) {
      BIO_set_retry_read(bio);
      return 0;
    }
    std::memcpy(data, input.data(), *got);
    input = input.subspan(*got);
    return 1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO_METHOD* method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tern");
      if (made == nullptr) throw std::bad_alloc();
      BIO_meth_set_write_ex(made, write);
      BIO_meth_set_read_ex(made, read);
      BIO_meth_set_ctrl(made, control);
      return made;
    }();
    return method;
  }

  static BIO* make(TlsSession* session) {
    BIO* bio = BIO_new(method());
    if (bio == nullptr) throw std::bad_alloc();
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    return bio;
  }
};

TlsSession::TlsSession(const TlsContext& context, const std::string& host)
    : context_(context), ssl_(SSL_new(context.get())) {
  if (ssl_ == nullptr) throw std::bad_alloc();
  BIO* bio = Bio::make(this);
  SSL_set_bio(ssl_.get(), bio, bio);
  if (context.server()) {
    SSL_set_accept_state(ssl_.get());
    return;
  }
  SSL_set_connect_state(ssl_.get());
  if (context.uses_token()) return;
  if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str()) != 1) {  // no IP address, so a name
    SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl_.get(), host.c_str()) != 1 || SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) != 1)
      throw std::bad_alloc();
  }
}

TlsSession::Status TlsSession::feed(Bytes wire, std::span<std::byte> plain, size_t& count) {
  input_ = wire;
  count = 0;
  if (!established_) {
    const Status status = handshake();
    if (!established_) return status;
  }
  ERR_clear_error();
  size_t got = 0;
  while (SSL_read_ex(ssl_.get(), plain.data() + count, plain.size() - count, &got) == 1) count += got;
  return explain(0);
}

TlsSession::Status TlsSession::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) return explain(result);
  // OpenSSL has verified what it was given; that it was given the right thing is checked here once more.
  established_ =
      context_.uses_token() ? SSL_session_reused(ssl_.get()) == 1 : SSL_get_verify_result(ssl_.get()) == X509_V_OK;
  if (established_) return Status::open;
  why_ = "the peer did not prove who it is";
  return Status::broken;
}

bool TlsSession::encrypt(Bytes plain) {
  ERR_clear_error();
  size_t written = 0;
  if (SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written) == 1) return true;
  why_ = words_for(ERR_peek_last_error());
  ERR_clear_error();
  return false;
}

void TlsSession::finish() {
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

void TlsSession::sent(size_t count) {
  sent_ += count;
  if (sent_ < output_.size() && sent_ < kKept) return;
  output_.erase(output_.begin(), output_.begin() + static_cast<ptrdiff_t>(sent_));
  sent_ = 0;
}

TlsSession::Status TlsSession::explain(int result) {
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Status::open;
  if (error == SSL_ERROR_ZERO_RETURN) return Status::closed;
  why_ = words_for(ERR_peek_last_error());
  ERR_clear_error();
  if (context_.server() && !established_ && output_.empty()) {
    // OpenSSL does not answer what is no TLS at all. A client that is not tern's, or got --insecure, shall know why.
    for (const int byte : {21, 3, 3, 0, 2, 2, 10})
      output_.push_back(static_cast<std::byte>(byte));  // unexpected_message
  }
  return Status::broken;
}

const char* TlsSession::hung_up() {
  return "the server hung up during the TLS handshake: is it started with --insecure, or has it too many connections?";
}

std::string TlsSession::words_for(unsigned long error) const {
  const int reason = ERR_GET_REASON(error);
  const char* text = ERR_reason_error_string(error);
  const std::string detail = " (" + std::string(text ? text : "no reason given") + ")";
  if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
    return words_for_alert(reason - SSL_AD_REASON_OFFSET) + detail;
  if (established_) return "TLS failed" + detail;
  if (context_.server()) return "TLS handshake failed" + detail;
  if (SSL_get_verify_result(ssl_.get()) != X509_V_OK) {
    if (context_.uses_token()) return "the server shows a certificate and asks for no token: it wants --tls-cert";
    return std::string("the server's certificate is not trusted: ") +
           X509_verify_cert_error_string(SSL_get_verify_result(ssl_.get()));
  }
  if (reason == SSL_R_UNSUPPORTED_PROTOCOL) return "the server does not speak TLS 1.3" + detail;
  return "no TLS there: is the server started with --insecure?" + detail;
}

std::string TlsSession::words_for_alert(int alert) const {
  if (context_.server()) return "the peer ended TLS";
  if (alert == SSL_AD_PROTOCOL_VERSION) return "the server does not speak TLS 1.3";
  if (context_.uses_token()) return established_ ? "the server ended TLS" : "the server does not know this token";
  // A server looks at the client's certificate when the client's part of the handshake is already over.
  if (established_) return "the server does not accept this certificate";
  return "the server has no certificate for this client: does it want --token-file?";
}

}  // namespace tern::dist
