#include "dist/reduce_lanes.h"

#include <vector>

#include "core/basic_ops.h"
#include "core/error.h"

namespace tern::dist {
namespace {

constexpr int64_t kSliceAlignment = 16;  // floats: slices begin at cache lines

}  // namespace

LaneReducer::LaneReducer(Group& group, Context& context, int64_t parameters)
    : group_(group), context_(context), parameters_(parameters),
      memory_(context.device().kind == Device::Kind::cpu ? Memory::host : Memory::device) {
  if (context.device().kind == Device::Kind::cpu || group.caps().device_memory) return;
  host_ = std::make_unique<Context>(Context::Options{.threads = 1});
  on_host_ = std::make_unique<LaneReducer>(group, *host_, parameters);
  host_sum_ = Tensor::empty(*host_, {parameters});
}

int64_t LaneReducer::begin_of(int rank) const {
  if (rank == group_.size()) return parameters_;
  return parameters_ / kSliceAlignment * rank / group_.size() * kSliceAlignment;
}

Tensor LaneReducer::part(const Tensor& flat, int64_t begin, int64_t length) const {
  return Tensor::view_of(context_, flat.storage(), flat.storage_offset() + static_cast<size_t>(begin) * sizeof(float),
                         {DType::f32, {length}});
}

std::span<std::byte> LaneReducer::bytes_of(const Tensor& tensor) const {
  return {static_cast<std::byte*>(tensor.raw()), tensor.bytes()};
}

void LaneReducer::reduce_staged(int lanes, std::span<const LaneRange> shares, std::span<const Tensor> mine, const Tensor& sum) {
  while (host_mine_.size() < mine.size()) host_mine_.push_back(Tensor::empty(*host_, {parameters_}));
  for (size_t i = 0; i < mine.size(); ++i) mine[i].read_bytes(host_mine_[i].raw());
  on_host_->reduce(lanes, shares, std::span(host_mine_).first(mine.size()), host_sum_);
  sum.write_bytes(host_sum_.raw());
}

/// All-to-all: every rank gets its slice of each node. Returns those of this rank, in the order of nodes.
std::vector<Tensor> LaneReducer::exchange_slices(std::span<const std::vector<LaneRange>> nodes, std::span<const Tensor> mine) {
  const int me = group_.rank(), size = group_.size();
  const int64_t my_begin = begin_of(me), my_length = begin_of(me + 1) - my_begin;
  std::vector<RankSend> sends;
  std::vector<RankReceive> receives;
  std::vector<Tensor> parts;
  int64_t foreign = 0;
  for (int rank = 0; rank < size; ++rank)
    if (rank != me) foreign += std::ssize(nodes[static_cast<size_t>(rank)]);
  reserve_foreign(foreign * my_length);
  foreign = 0;
  for (int rank = 0; rank < size; ++rank) {
    const int64_t begin = begin_of(rank), length = begin_of(rank + 1) - begin;
    if (rank == me && length > 0)
      for (const Tensor& node : mine) parts.push_back(part(node, begin, length));
    if (rank == me) continue;
    if (length > 0)
      for (const Tensor& node : mine) sends.push_back({rank, bytes_of(part(node, begin, length))});
    for (size_t i = 0; my_length > 0 && i < nodes[static_cast<size_t>(rank)].size(); ++i) {
      parts.push_back(part(foreign_, foreign++ * my_length, my_length));
      receives.push_back({rank, bytes_of(parts.back())});
    }
  }
  group_.exchange(sends, receives, memory_);
  return parts;
}

void LaneReducer::reserve_foreign(int64_t floats) {
  if (floats == 0 || (foreign_.defined() && foreign_.numel() >= floats)) return;
  MemoryTag tag(context_, "gradients");
  foreign_ = Tensor::empty(context_, {floats});
}

/// All-gather: every rank's slice of the sum comes to every rank.
void LaneReducer::exchange_sums(const Tensor& sum) {
  const int me = group_.rank();
  std::vector<RankSend> sends;
  std::vector<RankReceive> receives;
  const int64_t my_begin = begin_of(me), my_length = begin_of(me + 1) - my_begin;
  for (int rank = 0; rank < group_.size(); ++rank) {
    const int64_t begin = begin_of(rank), length = begin_of(rank + 1) - begin;
    if (rank == me) continue;
    if (my_length > 0) sends.push_back({rank, bytes_of(part(sum, my_begin, my_length))});
    if (length > 0) receives.push_back({rank, bytes_of(part(sum, begin, length))});
  }
  group_.exchange(sends, receives, memory_);
}

void LaneReducer::reduce(int lanes, std::span<const LaneRange> shares, std::span<const Tensor> mine, const Tensor& sum) {
  if (on_host_) return reduce_staged(lanes, shares, mine, sum);
  std::vector<std::vector<LaneRange>> nodes;  // by rank
  std::vector<LaneRange> all;
  for (const LaneRange share : shares) {
    nodes.push_back(canonical_nodes(lanes, share));
    all.insert(all.end(), nodes.back().begin(), nodes.back().end());
  }
  const std::vector<Addition> additions = tree_additions(lanes, all);
  const std::vector<Tensor> parts = exchange_slices(nodes, mine);
  if (!parts.empty()) {
    for (const Addition& add : additions)
      accumulate_into(parts[static_cast<size_t>(add.into)], parts[static_cast<size_t>(add.from)]);
    part(sum, begin_of(group_.rank()), parts[0].numel()).copy_from(parts[0]);
  }
  exchange_sums(sum);
}

}  // namespace tern::dist
