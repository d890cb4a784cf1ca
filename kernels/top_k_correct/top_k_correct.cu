#include "kernels/common/team.cuh"

namespace tern::cuda {
namespace {

/// A team counts the classes ahead of the label's. NaN counts as the largest of all.
template <class T>
struct TopKRow {
  const T* logits;
  const int64_t* labels;
  uint8_t* correct;
  int64_t classes, k;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t r, bool active) const {
    const T* x = logits + r * classes;
    const int64_t label = labels[r];
    const bool is_class = label >= 0 && label < classes;
    const auto own = widen(x[is_class ? label : 0]);
    int64_t ahead = 0;
    for (int64_t c = team.rank; c < classes; c += team.size) {
      const auto v = widen(x[c]);
      ahead += v != v || v > own || (v == own && c < label);
    }
    ahead = team.reduce(ahead, int64_t{0}, Plus{});
    if (team.rank == 0 && active) correct[r] = is_class && own == own && ahead < k ? 1 : 0;
  }
};

}  // namespace

void top_k_correct(Launch& launch, int64_t k) {
  const Tensor& logits = launch.in[0];
  const int64_t classes = logits.size(1);
  dispatch_floating("top_k_correct", logits.dtype(), [&](auto t) {
    using T = decltype(t);
    const TopKRow<T> row{logits.data<T>(), launch.in[1].data<int64_t>(), launch.out[0].data<uint8_t>(), classes, k};
    launch_rows(launch.context, "top_k_correct", row, logits.size(0), team_size_for(classes));
  });
}

}  // namespace tern::cuda
