#include "dist/group.h"

namespace tern::dist {

std::vector<std::vector<std::byte>> all_gather(Group& group, std::span<const std::byte> mine) {
  const std::vector<uint64_t> lengths = all_gather_values(group, static_cast<uint64_t>(mine.size()));
  std::vector<std::vector<std::byte>> all(lengths.size());
  std::vector<RankSend> sends;
  std::vector<RankReceive> receives;
  for (size_t i = 0; i < all.size(); ++i) {
    const int rank = static_cast<int>(i);
    if (rank == group.rank()) {
      all[i].assign(mine.begin(), mine.end());
      continue;
    }
    all[i].resize(lengths[i]);
    if (!mine.empty()) sends.push_back({rank, mine});
    if (!all[i].empty()) receives.push_back({rank, all[i]});
  }
  group.exchange(sends, receives);
  return all;
}

std::vector<std::byte> broadcast(Group& group, std::span<const std::byte> bytes) {
  return std::move(all_gather(group, group.rank() == 0 ? bytes : std::span<const std::byte>())[0]);
}

void barrier(Group& group) { all_gather_values(group, std::byte{}); }

}  // namespace tern::dist
