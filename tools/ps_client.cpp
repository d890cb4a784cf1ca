#include "tools/ps_client.h"

#include <random>
#include <utility>

#include "core/error.h"
#include "tools/exit_codes.h"

namespace tern {

void Notes::add(const std::string& text) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(text);
}

void Notes::tell(Progress& progress) {
  std::vector<std::string> notes;
  {
    const std::lock_guard lock(mutex_);
    notes = std::exchange(waiting_, {});
  }
  for (const std::string& text : notes) progress.message(text);
}

uint64_t draw_instance() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

void throw_refusal(const dist::ErrorMessage& refusal, const std::string& client) {
  const std::string text = "the server refuses this " + client + " (" + std::string(dist::name_of(refusal.code)) + "): " + refusal.text;
  switch (refusal.code) {
    case dist::Refusal::data_mismatch: throw DataError(text);
    case dist::Refusal::device_mismatch: throw DeviceError(text);
    case dist::Refusal::bad_version:
    case dist::Refusal::not_wanted:
    case dist::Refusal::model_mismatch: throw ConfigError(text);
    default: throw PeerLostError(text);
  }
}

}  // namespace tern
