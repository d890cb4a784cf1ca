#pragma once
#include <httplib.h>

#include <string>
#include <thread>

#include "dist/transport.h"

namespace tern {

/// An HTTP server on threads of its own, for pages that only read. Handlers are set before listen().
class PageServer {
 public:
  /// `threads` answer at once.
  explicit PageServer(size_t threads);
  ~PageServer();  ///< closes it; waits for answers that are being written
  PageServer(const PageServer&) = delete;
  PageServer& operator=(const PageServer&) = delete;

  httplib::Server& http() { return http_; }
  /// Port 0: any. Throws Error naming `option` when the address cannot be listened on, for example because another program does.
  void listen(const dist::Address& address, const std::string& option);
  uint16_t port() const { return static_cast<uint16_t>(port_); }

 private:
  httplib::Server http_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace tern
