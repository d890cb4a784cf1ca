#pragma once
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "dist/messages.h"
#include "tools/progress.h"

/// What a worker and a shard have in common: they are clients of a server.
namespace tern {

/// What network threads note, told by the main thread, whose Progress is.
class Notes {
 public:
  void add(const std::string& text);
  void tell(Progress& progress);

 private:
  std::mutex mutex_;
  std::vector<std::string> waiting_;
};

/// By which the server knows the process when it comes back; drawn at random.
uint64_t draw_instance();

/// Throws what gives the exit code for a server that will not have this `client` ("worker", "shard").
[[noreturn]] void throw_refusal(const dist::ErrorMessage& refusal, const std::string& client);

}  // namespace tern
