#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace tern::data::testing {

/// How the server below answers.
struct Answer {
  std::string body;
  int status = 200;                          ///< 200: the body, or 206 and its rest where the request has a Range
  bool ignore_range = false;                 ///< always the whole body
  bool wrong_range = false;                  ///< 206, but from byte 0
  size_t hang_up_after = std::string::npos;  ///< bytes of body, then the connection breaks
  bool stall = false;                        ///< it does not break but falls silent
  std::string redirect = "";                 ///< 302 to this address for any path but /moved
};

/// One-thread HTTP server on the loopback interface that serves one body; it ends with the object.
class HttpServer {
 public:
  explicit HttpServer(Answer answer) : answer_(std::move(answer)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 8) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("cannot listen on the loopback interface");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpServer() {
    stop_ = true;
    thread_.join();
    close(listener_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
  }
  /// Request lines and Range headers so far: "GET /x HTTP/1.1" or "GET /x HTTP/1.1 bytes=5-".
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  static bool readable(int fd) {
    pollfd p{fd, POLLIN, 0};
    return poll(&p, 1, 20) > 0;
  }

  void serve() {
    while (!stop_) {
      if (!readable(listener_)) continue;
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      std::string request;
      while (!stop_ && request.find("\r\n\r\n") == request.npos) {
        if (!readable(client)) continue;
        char buffer[2048];
        const ssize_t n = recv(client, buffer, sizeof(buffer), 0);
        if (n <= 0) break;
        request.append(buffer, static_cast<size_t>(n));
      }
      reply(client, request);
      close(client);
    }
  }

  void reply(int client, const std::string& request) {
    const size_t range_at = request.find("Range: bytes=");
    const bool ranged = range_at != request.npos;
    const std::string line = request.substr(0, request.find('\r'));
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(ranged ? line + request.substr(range_at + 6, request.find('\r', range_at) - range_at - 6)
                                 : line);
    }
    const size_t size = answer_.body.size();
    size_t from = ranged ? std::strtoull(request.c_str() + range_at + 13, nullptr, 10) : 0;
    std::string head = "HTTP/1.1 ";
    if (!answer_.redirect.empty() && line.find("/moved") == line.npos) {
      send_all(client, head + "302 Found\r\nLocation: " + answer_.redirect + "\r\nContent-Length: 5\r\n\r\nmoved");
      return;
    }
    if (answer_.status != 200) {
      send_all(client, head + std::to_string(answer_.status) + " Sorry\r\nContent-Length: 5\r\n\r\nsorry");
      return;
    }
    if (ranged && !answer_.ignore_range && from >= size) {
      send_all(client,
               head + "416 Range\r\nContent-Range: bytes */" + std::to_string(size) + "\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    if (ranged && !answer_.ignore_range) {
      if (answer_.wrong_range) from = 0;
      head += "206 Partial\r\nContent-Range: bytes " + std::to_string(from) + "-" + std::to_string(size - 1) + "/" +
              std::to_string(size) + "\r\n";
    } else {
      from = 0;
      head += "200 OK\r\n";
    }
    head += "Content-Length: " + std::to_string(size - from) + "\r\nConnection: close\r\n\r\n";
    const std::string bytes = head + answer_.body.substr(from, answer_.hang_up_after);
    if (!answer_.stall) return send_all(client, bytes);
    send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    while (!stop_ && !readable(client)) {
    }
  }

  static void send_all(int client, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    shutdown(client, SHUT_WR);
  }

  const Answer answer_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace tern::data::testing
