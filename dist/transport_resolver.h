#pragma once
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <system_error>
#include <vector>

#include "dist/transport.h"

/// Looks up names without blocking. Internal to the transport.
namespace tern::dist {

/// Like Asio's resolver, but its destructor does not wait for a look-up in progress: those can take half a minute when
/// a name server is silent, and cannot be interrupted.
class Resolver {
 public:
  using Done = std::function<void(std::error_code, std::vector<asio::ip::tcp::endpoint>)>;

  explicit Resolver(asio::io_context& io);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// Calls `done` on the io_context's thread, later; not at all once the resolver is gone. One look-up at a time.
  void resolve(const Address& address, Done done);

 private:
  struct Mailbox;
  std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace tern::dist
