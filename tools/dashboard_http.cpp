#include "tools/dashboard_http.h"

#include <sys/socket.h>

#include <chrono>

#include "core/error.h"

namespace tern {

PageServer::PageServer(size_t threads) {
  http_.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
  http_.set_read_timeout(5);
  http_.set_write_timeout(5);
  http_.set_payload_max_length(4096);
  // The library would share a port with any other program of this user that does the same.
  http_.set_socket_options([](auto socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
}

void PageServer::listen(const dist::Address& address, const std::string& option) {
  const std::string host = address.host.empty() ? "0.0.0.0" : address.host;
  port_ = address.port == 0 ? http_.bind_to_any_port(host.c_str()) : (http_.bind_to_port(host.c_str(), address.port) ? address.port : -1);
  if (port_ < 0) {
    const dist::Address wanted{host, address.port};
    throw Error(option + ": " + wanted.str() + " cannot be listened on; does another program use the port, or is the address not this machine's?");
  }
  thread_ = std::thread([this] { http_.listen_after_bind(); });
  while (!http_.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // stop() before that would be lost
}

PageServer::~PageServer() {
  http_.stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace tern
