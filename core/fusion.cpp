#include "core/fusion.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

namespace tern {
namespace {

/// How often each value of a step is read, by instructions and as a result.
std::unordered_map<size_t, int> count_reads(std::span<const Instruction> instructions, std::span<const Ref> results) {
  std::unordered_map<size_t, int> reads;
  for (const Instruction& instruction : instructions)
    for (const Ref& ref : instruction.in) ++reads[ref.value];
  for (const Ref& ref : results) ++reads[ref.value];
  return reads;
}

/// `a` and `b` as one instruction, where their rule can.
std::optional<Instruction> merge(const Instruction& a, const Instruction& b, Context& context) {
  const FusionRule rule = b.op->fusion_rule() ? b.op->fusion_rule() : a.op->fusion_rule();
  if (!rule) return std::nullopt;
  FusionPair pair{a.op, b.op, {}, {}, {}, a.out[0].spec, b.out[0].spec};
  Instruction merged{nullptr, {}, b.out, 0, {}, a.phase};
  const auto place = [&](const Ref& ref) {
    if (ref == a.out[0]) return FusionPair::kFirst;
    const auto known = std::ranges::find(merged.in, ref);
    const auto index = static_cast<int>(known - merged.in.begin());
    if (known == merged.in.end()) {
      merged.in.push_back(ref);
      pair.inputs.push_back(ref.spec);
    }
    return index;
  };
  for (const Ref& ref : a.in) pair.first_in.push_back(place(ref));
  for (const Ref& ref : b.in) pair.second_in.push_back(place(ref));
  merged.op = rule(pair);
  if (!merged.op) return std::nullopt;
  merged.workspace = merged.op->workspace(pair.inputs, context);
  return merged;
}

/// Whether b reads all of a's only output and nobody else reads any of it.
bool belong_together(const Instruction& a, const Instruction& b, const std::unordered_map<size_t, int>& reads) {
  if (a.out.size() != 1 || b.out.size() != 1 || !a.overwritten.empty() || !b.overwritten.empty() || !b.phase.empty())
    return false;
  const auto in_place = [](const Instruction& x) { return std::ranges::count(x.in, x.out[0].value, &Ref::value) > 0; };
  if (in_place(a) || in_place(b)) return false;
  const auto read_by_b = std::ranges::count(b.in, a.out[0]);
  return read_by_b > 0 && reads.at(a.out[0].value) == read_by_b;
}

}  // namespace

int fuse(std::vector<Instruction>& instructions, std::span<const Ref> results, Context& context) {
  const auto reads = count_reads(instructions, results);
  std::vector<Instruction> kept;
  for (Instruction& next : instructions) {
    if (!kept.empty() && belong_together(kept.back(), next, reads)) {
      if (auto merged = merge(kept.back(), next, context)) {
        kept.back() = std::move(*merged);
        continue;
      }
    }
    kept.push_back(std::move(next));
  }
  const auto gone = static_cast<int>(instructions.size() - kept.size());
  instructions = std::move(kept);
  return gone;
}

}  // namespace tern
