#include "kernels/common/reduce.cuh"
#include "kernels/common/softmax_rows.cuh"
#include "kernels/cross_entropy/cross_entropy.h"

namespace tern::cuda {
namespace {

/// The loss of a row, computed by one team. Elements are computed in Compute<T>, their sums in f64. There is nobody to
/// tell of a label that is no class: its loss is NaN.
template <int kPack, class T>
struct LossRow {
  const T* logits;
  const int64_t* labels;
  Accumulator<T>* losses;
  int64_t classes;
  double smoothing;
  bool aligned;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t r, bool active) const {
    const T* x = logits + r * classes;
    const HeldRow<kPack, T> row(team, x, classes / kPack, kPack, aligned);
    const auto sums = exp_sum<double>(team, row);
    const double log_sum = std::log(sums.sum);
    double below = 0;  // how far all classes together are below the largest
    if (smoothing != 0) {
      row.each([&](int64_t, const Pack<T, kPack>& from) {
        for (int i = 0; i < kPack; ++i) below += static_cast<double>(sums.largest - widen(from.v[i]));
      });
      below = team.reduce(below, 0.0, Plus{});
    }
    if (team.rank != 0 || !active) return;
    const int64_t label = labels[r];
    if (label < 0 || label >= classes) {
      losses[r] = std::numeric_limits<Accumulator<T>>::quiet_NaN();
      return;
    }
    const double own = static_cast<double>(sums.largest - widen(x[label])) + log_sum;
    const double even = below / static_cast<double>(classes) + log_sum;
    losses[r] = static_cast<Accumulator<T>>(smoothing == 0 ? own : (1 - smoothing) * own + smoothing * even);
  }
};

/// dlogits = (softmax - target) * dy of a row, by one team. A row whose label is no class becomes NaN.
template <int kPack, class T>
struct GradRow {
  using A = Compute<T>;
  const T* logits;
  const int64_t* labels;
  const A* dy;
  T* dx;
  int64_t classes;
  A even, own;  ///< the target of each class, and what the label has besides
  A divisor;
  bool row_by_row;  ///< dy has an element a row
  bool aligned;

  template <bool kWholeBlock>
  __device__ void operator()(const Team<kWholeBlock>& team, int64_t r, bool active) const {
    const HeldRow<kPack, T> row(team, logits + r * classes, classes / kPack, kPack, aligned);
    const auto sums = exp_sum<double>(team, row);
    if (!active) return;
    const A log_sum = static_cast<A>(std::log(sums.sum));
    const int64_t label = labels[r];
    A scale = dy[row_by_row ? r : 0] / divisor;
    if (label < 0 || label >= classes) scale = std::numeric_limits<A>::quiet_NaN();
    row.each([&](int64_t unit, const Pack<T, kPack>& from) {
      Pack<T, kPack> to;
      for (int i = 0; i < kPack; ++i) {
        const A log_p = (widen(from.v[i]) - sums.largest) - log_sum;
        // expm1: p - 1 would lose what is left of the gradient of a class that is all but certain.
        const A difference =
            unit * kPack + i == label ? std::expm1(log_p) + ((A{1} - own) - even) : std::exp(log_p) - even;
        to.v[i] = narrow<T>(difference * scale);
      }
      store_any(dx + r * classes + unit * kPack, to, aligned);
    });
  }
};

}  // namespace

/// `losses`: where a reduced loss keeps its rows; they are summed by a block, lane by lane.
void cross_entropy(Launch& launch, const CrossEntropy& options, int64_t lane_size) {
  const Tensor& logits = launch.in[0];
  const int64_t rows = logits.size(0), classes = logits.size(1);
  const bool reduces = options.reduction != LossReduction::none;
  dispatch_floating("cross_entropy", logits.dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    const T* x = logits.data<T>();
    Acc* losses = reduces ? reinterpret_cast<Acc*>(launch.workspace.data()) : launch.out[0].data<Acc>();
    with_row_pack<T>(classes, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const LossRow<kPack, T> row{x,       launch.in[1].data<int64_t>(), losses,
                                  classes, options.label_smoothing,      kPack == 1 || aligned16(x)};
      launch_rows(launch.context, "cross_entropy", row, rows, team_size_for(classes / kPack));
    });
    if (!reduces) return;
    const Lanes lanes{rows, lane_size};
    const SumPolicy<double> policy{options.reduction == LossReduction::mean ? static_cast<double>(rows) : 1.0};
    const PartialResults partials{lanes.count(), lanes.end(0), rows - lanes.begin(lanes.count() - 1), 1};
    combine_partials<double>(launch.context, "cross_entropy", policy, losses, partials,
                             FinishTo<Acc, SumPolicy<double>>{launch.out[0].data<Acc>(), policy});
  });
}

void cross_entropy_grad(Launch& launch, const CrossEntropy& options) {
  const Tensor& logits = launch.in[0];
  const int64_t rows = logits.size(0), classes = logits.size(1);
  dispatch_floating("cross_entropy_grad", logits.dtype(), [&](auto t) {
    using T = decltype(t);
    using A = Compute<T>;
    const T* x = logits.data<T>();
    T* dx = launch.out[0].data<T>();
    with_row_pack<T>(classes, [&](auto pack) {
      constexpr int kPack = decltype(pack)::value;
      const GradRow<kPack, T> row{x,
                                  launch.in[1].data<int64_t>(),
                                  launch.in[2].data<A>(),
                                  dx,
                                  classes,
                                  static_cast<A>(options.label_smoothing / static_cast<double>(classes)),
                                  static_cast<A>(1 - options.label_smoothing),
                                  options.reduction == LossReduction::mean ? static_cast<A>(rows) : A{1},
                                  options.reduction == LossReduction::none,
                                  kPack == 1 || aligned16(x, dx)};
      launch_rows(launch.context, "cross_entropy_grad", row, rows, team_size_for(classes / kPack));
    });
  });
}

}  // namespace tern::cuda
