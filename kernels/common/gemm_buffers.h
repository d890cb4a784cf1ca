#pragma once
#include "core/context.h"
#include "core/thread_pool.h"
#include "kernels/common/gemm.h"
#include "kernels/common/scratch.h"

namespace tern {

/// The workspaces of `count` products of C that run in a loop on the pool: one a thread, or one for a single product.
template <class C>
class GemmBuffers {
 public:
  /// What all of them take from an op's workspace.
  static size_t bytes(Context& context, const Gemm& largest, int64_t count) {
    return (count > 1 ? static_cast<size_t>(context.pool().threads()) : 1) * slot_bytes(largest);
  }
  GemmBuffers(Context& context, const Gemm& largest, int64_t count, Scratch& scratch)
      : slot_bytes_(slot_bytes(largest)), single_(count == 1), memory_(scratch.take<std::byte>(static_cast<int64_t>(bytes(context, largest, count)))) {}
  /// That of the loop's `slot`.
  std::span<std::byte> at(int slot) const {
    return {memory_ + (single_ ? 0 : static_cast<size_t>(slot)) * slot_bytes_, slot_bytes_};
  }

 private:
  static size_t slot_bytes(const Gemm& g) { return scratch_bytes<std::byte>(static_cast<int64_t>(gemm_workspace<C>(g))); }

  size_t slot_bytes_;
  bool single_;
  std::byte* memory_;
};

}  // namespace tern
