#include "tools/ledger.h"

#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"

namespace tern {
namespace fs = std::filesystem;

Ledger::Ledger(const fs::path& file) {
  bool cut = false;
  if (std::ifstream before(file, std::ios::ate); before && before.tellg() > 0) {
    before.seekg(-1, std::ios::end);
    cut = before.get() != '\n';
  }
  out_.open(file, std::ios::app);
  if (!out_) throw Error(file.string() + ": cannot be written");
  if (cut) out_ << '\n';
}

void Ledger::add(uint64_t run_epoch, uint64_t step, std::span<const dist::SlotResult> slots, const dist::Digest& gradient,
                 const dist::Digest& parameters) {
  nlohmann::ordered_json lanes = nlohmann::ordered_json::array();
  for (const dist::SlotResult& slot : slots) lanes.push_back({slot.range.first, slot.range.count, slot.worker, dist::hex(slot.digest)});
  const nlohmann::ordered_json line = {{"run_epoch", run_epoch}, {"step", step}, {"lanes", lanes}, {"gradient", dist::hex(gradient)}, {"parameters", dist::hex(parameters)}};
  out_ << line.dump() << std::endl;  // to the system at once: it outlives a killed process
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
