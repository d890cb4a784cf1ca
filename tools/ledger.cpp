#include "tools/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"

namespace tern {
namespace fs = std::filesystem;

Ledger::Ledger(const fs::path& file) {
  fd_ = ::open(file.c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error(file.string() + ": cannot be written");
  const off_t size = ::lseek(fd_, 0, SEEK_END);
  char last = '\n';
  if (size > 0 && ::pread(fd_, &last, 1, size - 1) == 1 && last != '\n') waiting_ = "\n";
}

Ledger::~Ledger() {
  write();
  ::close(fd_);
}

void Ledger::add(uint64_t run_epoch, uint64_t step, std::span<const dist::SlotResult> slots, const dist::Digest& gradient,
                 const dist::Digest& parameters) {
  nlohmann::ordered_json lanes = nlohmann::ordered_json::array();
  for (const dist::SlotResult& slot : slots) lanes.push_back({slot.range.first, slot.range.count, slot.worker, dist::hex(slot.digest)});
  nlohmann::ordered_json line = {{"run_epoch", run_epoch}, {"step", step}, {"lanes", lanes}, {"gradient", dist::hex(gradient)}, {"parameters", dist::hex(parameters)}};
  for (const dist::SlotResult& slot : slots)
    if (slot.dropped) line["dropped"].push_back(slot.range.first);
  waiting_ += line.dump() + "\n";
  write();
}

/// To the system at once: it outlives a killed process. What a full disk does not take waits, from the very byte on.
void Ledger::write() {
  while (!waiting_.empty()) {
    const ssize_t written = ::write(fd_, waiting_.data(), waiting_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    waiting_.erase(0, static_cast<size_t>(written));
  }
}

ServerState read_server_state(const fs::path& folder) {
  const fs::path file = folder / "server.json";
  std::ifstream in(file);
  if (!in) return {};
  try {
    const nlohmann::json json = nlohmann::json::parse(in);
    return {json.at("run_epoch").get<uint64_t>(), json.at("device_class").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    throw DataError(file.string() + ": " + error.what());
  }
}

void write_server_state(const fs::path& folder, const ServerState& state) {
  const nlohmann::ordered_json json = {{"run_epoch", state.run_epoch}, {"device_class", state.device_class}};
  write_file_atomically(folder / "server.json", json.dump(2) + "\n");
}

}  // namespace tern
