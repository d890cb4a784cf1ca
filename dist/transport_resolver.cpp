#include "dist/transport_resolver.h"

#include <asio/post.hpp>
#include <mutex>
#include <thread>

namespace tern::dist {

using asio::ip::tcp;

/// Where a look-up puts its answer, alive as long as anybody needs it.
struct Resolver::Mailbox {
  std::mutex mutex;
  asio::io_context* io;  ///< null when the resolver is gone
};

Resolver::Resolver(asio::io_context& io) : mailbox_(std::make_shared<Mailbox>()) { mailbox_->io = &io; }

Resolver::~Resolver() {
  const std::lock_guard lock(mailbox_->mutex);
  mailbox_->io = nullptr;
}

void Resolver::resolve(const Address& address, Done done) {
  std::error_code no_literal;
  const asio::ip::address literal = asio::ip::make_address(address.host, no_literal);
  if (!no_literal) {
    const std::vector<tcp::endpoint> endpoints{{literal, address.port}};
    return asio::post(*mailbox_->io, [done = std::move(done), endpoints] { done({}, endpoints); });
  }
  std::thread([mailbox = mailbox_, address, done = std::move(done)]() mutable {
    asio::io_context own;
    tcp::resolver resolver(own);
    std::error_code error;
    std::vector<tcp::endpoint> endpoints;
    for (const auto& entry : resolver.resolve(address.host, std::to_string(address.port), error))
      endpoints.push_back(entry.endpoint());
    const std::lock_guard lock(mailbox->mutex);
    if (mailbox->io == nullptr) return;
    asio::post(*mailbox->io,
               [done = std::move(done), error, endpoints = std::move(endpoints)] { done(error, endpoints); });
  }).detach();
}

}  // namespace tern::dist
