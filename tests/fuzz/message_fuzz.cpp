// Any bytes are refused or decode to a message that encodes to the same bytes, and fits into a frame of its type.
//   byte 0: which message; rest: its payload.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "dist/messages.h"

using namespace tern::dist;

namespace {

template <class Message>
void check(FrameType type, Bytes payload) {
  const std::optional<Message> message = decode<Message>(payload);
  if (!message) return;
  const std::vector<std::byte> again = encode(*message);
  if (!std::equal(again.begin(), again.end(), payload.begin(), payload.end())) std::abort();
  if (payload.size() > max_payload(type)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<std::byte> payload(reinterpret_cast<const std::byte*>(data) + 1,
                                       reinterpret_cast<const std::byte*>(data) + size);
  switch (data[0] % 9) {
    case 0: check<Hello>(FrameType::hello, payload); break;
    case 1: check<Welcome>(FrameType::welcome, payload); break;
    case 2: check<Heartbeat>(FrameType::heartbeat, payload); break;
    case 3: check<Assign>(FrameType::assign, payload); break;
    case 4: check<Nack>(FrameType::nack, payload); break;
    case 5: check<Commit>(FrameType::commit, payload); break;
    case 6: check<Drain>(FrameType::drain, payload); break;
    case 8: check<Shards>(FrameType::shards, payload); break;
    case 7: check<ErrorMessage>(FrameType::error, payload); break;
  }
  return 0;
}
