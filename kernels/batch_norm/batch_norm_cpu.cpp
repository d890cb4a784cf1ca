#include "core/thread_pool.h"
#include "kernels/batch_norm/batch_norm_blocks.h"
#include "kernels/batch_norm/batch_norm_kernels.h"
#include "kernels/batch_norm/batch_norm_ops.h"
#include "kernels/common/parameter.h"
#include "kernels/common/scratch.h"

namespace tern {
namespace {

using batch_norm::Affine;
using batch_norm::RowCut;

/// The batch as lanes of rows of channels.
struct Rows {
  Lanes lanes;
  int64_t positions, channels;

  Rows(const BatchNormSetup& setup, const Shape& x)
      : lanes(setup.lanes(x)), positions(x.numel() / x[0] / x[-1]), channels(x[-1]) {}
  int64_t begin(int64_t lane) const { return lanes.begin(lane) * positions; }
  RowCut cut(int64_t lane) const { return {(lanes.end(lane) - lanes.begin(lane)) * positions, channels}; }
};

template <class Acc>
size_t affine_bytes(int64_t channels) {
  return 3 * scratch_bytes<Acc>(channels);
}

template <class Acc>
Affine<Acc> take_affine(Scratch& scratch, int64_t channels) {
  return {scratch.take<Acc>(channels), scratch.take<Acc>(channels), scratch.take<Acc>(channels)};
}

/// mean and var are `channels` numbers; affine_in holds [gamma], [beta].
template <class Acc>
void fill_affine(const Affine<Acc>& affine, const BatchNormSetup& setup, const Acc* mean, const Acc* var,
                 std::span<const Tensor> affine_in, int64_t channels) {
  std::fill(affine.scale, affine.scale + channels, Acc{1});
  std::fill(affine.beta, affine.beta + channels, Acc{0});
  if (setup.has_gamma) load_parameter(affine_in[0], affine.scale);
  if (setup.has_beta) load_parameter(affine_in[setup.has_gamma ? 1 : 0], affine.beta);
  for (int64_t c = 0; c < channels; ++c) {
    affine.mean[c] = mean[c];
    affine.scale[c] = static_cast<Acc>(static_cast<double>(affine.scale[c]) /
                                       std::sqrt(static_cast<double>(var[c]) + setup.options.eps));
  }
}

/// Scratch of the two sums a channel that blocks leave and lanes fold.
template <class Acc>
struct Sums {
  double* blocks;  // [blocks][2][channels]
  Acc* slots;      // [threads][2][channels]

  static size_t bytes(const Rows& rows, Context& context) {
    return scratch_bytes<double>(rows.cut(0).blocks() * 2 * rows.channels) +
           scratch_bytes<Acc>(context.pool().threads() * 2 * rows.channels);
  }
  Sums(Scratch& scratch, const Rows& rows, Context& context)
      : blocks(scratch.take<double>(rows.cut(0).blocks() * 2 * rows.channels)),
        slots(scratch.take<Acc>(context.pool().threads() * 2 * rows.channels)) {}
};

template <class T, class Acc>
void normalize(Context& context, const BatchNormSetup& setup, const RowCut& cut, int64_t channels,
               const Affine<Acc>& affine, const T* x, T* y) {
  context.pool().parallel_for(cut.blocks(), [&](int64_t b) {
    const int64_t at = cut.begin(b) * channels, count = cut.end(b) - cut.begin(b);
    switch (setup.options.activation) {
      case Activation::none: return batch_norm::normalize_rows<false>(x + at, y + at, count, channels, affine);
      case Activation::relu: return batch_norm::normalize_rows<true>(x + at, y + at, count, channels, affine);
      case Activation::gelu: return batch_norm::gelu_rows(x + at, y + at, count, channels, affine);
    }
  });
}

/// Mean and biased variance of one lane.
template <class T, class Acc>
void lane_moments(Context& context, const RowCut& cut, int64_t channels, const Sums<Acc>& sums, const T* x, Acc* mean,
                  Acc* var) {
  context.pool().parallel_for(cut.blocks(), [&](int64_t b, int slot) {
    double* out = sums.blocks + b * 2 * channels;
    Acc* tile = sums.slots + slot * 2 * channels;
    batch_norm::block_moments(x + cut.begin(b) * channels, cut.end(b) - cut.begin(b), channels, cut.tile, tile,
                              tile + channels, out, out + channels);
  });
  double* total = sums.blocks;
  for (int64_t b = 1; b < cut.blocks(); ++b) {
    const double* next = sums.blocks + b * 2 * channels;
    batch_norm::combine_moments(
        total, total + channels, cut.begin(b), [=](int64_t c) { return next[c]; },
        [=](int64_t c) { return next[channels + c]; }, cut.end(b) - cut.begin(b), channels);
  }
  for (int64_t c = 0; c < channels; ++c) {
    mean[c] = static_cast<Acc>(total[c]);
    var[c] = static_cast<Acc>(total[channels + c] / static_cast<double>(cut.rows));
  }
}

/// Sums of dz and dz * (x - mean) over one lane, left in sums.blocks[0]. Behind a GELU dz itself is left in `dz`.
template <Activation kActivation, class T, class Acc>
void lane_grad_sums(Context& context, const RowCut& cut, int64_t channels, const Sums<Acc>& sums,
                    const Affine<Acc>& affine, const T* x, const T* dy, T* dz) {
  context.pool().parallel_for(cut.blocks(), [&](int64_t b, int slot) {
    double* out = sums.blocks + b * 2 * channels;
    Acc* tile = sums.slots + slot * 2 * channels;
    const int64_t at = cut.begin(b) * channels, rows = cut.end(b) - cut.begin(b);
    constexpr bool kGelu = kActivation == Activation::gelu;
    if constexpr (kGelu) batch_norm::gelu_grad_rows(x + at, dy + at, dz + at, rows, channels, affine);
    batch_norm::block_grad_sums<kActivation == Activation::relu>(x + at, (kGelu ? dz : dy) + at, rows, channels, cut.tile, affine,
                                                                 tile, tile + channels, out, out + channels);
  });
  for (int64_t b = 1; b < cut.blocks(); ++b)
    for (int64_t i = 0; i < 2 * channels; ++i) sums.blocks[i] += sums.blocks[b * 2 * channels + i];
}

/// The backward pass of one dtype.
template <Activation kActivation, class T>
class Backward {
 public:
  using Acc = Accumulator<T>;

  static size_t bytes(const Rows& rows, Context& context) {
    return affine_bytes<Acc>(rows.channels) + Sums<Acc>::bytes(rows, context) + 2 * scratch_bytes<Acc>(rows.channels) +
           scratch_bytes<Acc>(rows.lanes.count() * 2 * rows.channels);
  }

  Backward(Launch& launch, const BatchNormSetup& setup)
      : launch_(launch),
        setup_(setup),
        rows_(setup, launch.in[0].shape()),
        scratch_(launch.workspace),
        affine_(take_affine<Acc>(scratch_, rows_.channels)),
        sums_(scratch_, rows_, launch.context),
        offset_(scratch_.take<Acc>(rows_.channels)),
        slope_(scratch_.take<Acc>(rows_.channels)),
        leaves_(scratch_.take<Acc>(rows_.lanes.count() * 2 * rows_.channels)) {}

  void run() {
    for (int64_t lane = 0; lane < rows_.lanes.count(); ++lane) run_lane(lane);
    const int64_t channels = rows_.channels;
    tree_sum(leaves_, rows_.lanes.count(), 2 * channels, 2 * channels);
    store_parameter(leaves_, launch_.out[0]);
    store_parameter(leaves_ + channels, launch_.out[1]);
  }

 private:
  void run_lane(int64_t lane) {
    const int64_t channels = rows_.channels, at = rows_.begin(lane) * channels;
    const RowCut cut = rows_.cut(lane);
    const int64_t statistics = setup_.training ? lane * channels : 0;
    const Acc* mean = launch_.in[2].template data<Acc>() + statistics;
    const Acc* var = launch_.in[3].template data<Acc>() + statistics;
    fill_affine<Acc>(affine_, setup_, mean, var, launch_.in.subspan(4), channels);
    const T* x = launch_.in[0].template data<T>() + at;
    const T* dy = launch_.in[1].template data<T>() + at;
    T* dx = launch_.out.size() < 3 ? nullptr : launch_.out[2].template data<T>() + at;
    lane_grad_sums<kActivation>(launch_.context, cut, channels, sums_, affine_, x, dy, dx);

    Acc* dgamma = leaves_ + lane * 2 * channels;
    const double count = static_cast<double>(cut.rows);
    for (int64_t c = 0; c < channels; ++c) {
      const double variance = static_cast<double>(var[c]) + setup_.options.eps;
      dgamma[c] = static_cast<Acc>(sums_.blocks[channels + c] / std::sqrt(variance));
      dgamma[channels + c] = static_cast<Acc>(sums_.blocks[c]);
      offset_[c] = static_cast<Acc>(sums_.blocks[c] / count);
      slope_[c] = static_cast<Acc>(sums_.blocks[channels + c] / (variance * count));
    }
    if (dx == nullptr) return;
    const T* dz = kActivation == Activation::gelu ? dx : dy;
    launch_.context.pool().parallel_for(cut.blocks(), [&](int64_t b) {
      const int64_t begin = cut.begin(b) * channels;
      batch_norm::grad_rows<kActivation == Activation::relu>(x + begin, dz + begin, dx + begin, cut.end(b) - cut.begin(b), channels,
                                                             affine_, setup_.training ? offset_ : nullptr, slope_);
    });
  }

  Launch& launch_;
  const BatchNormSetup& setup_;
  Rows rows_;
  Scratch scratch_;
  Affine<Acc> affine_;
  Sums<Acc> sums_;
  Acc* offset_;
  Acc* slope_;
  Acc* leaves_;
};

}  // namespace

size_t BatchNormTrain::workspace(std::span<const Spec> in, Context& context) const {
  if (context.device().kind == Device::Kind::cuda) return batch_norm_blocks(setup_, in[0]).partial_bytes();
  const Rows rows(setup_, in[0].shape);
  return dispatch_floating(name(), in[0].dtype, [&](auto t) {
    using Acc = Accumulator<decltype(t)>;
    return affine_bytes<Acc>(rows.channels) + Sums<Acc>::bytes(rows, context);
  });
}

void BatchNormTrain::run_cpu(Launch& launch) const {
  const Rows rows(setup_, launch.in[0].shape());
  const int64_t channels = rows.channels;
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    Scratch scratch(launch.workspace);
    const Affine<Acc> affine = take_affine<Acc>(scratch, channels);
    const Sums<Acc> sums(scratch, rows, launch.context);
    // Lane after lane, so that the second pass finds the lane in the last-level cache.
    for (int64_t lane = 0; lane < rows.lanes.count(); ++lane) {
      const RowCut cut = rows.cut(lane);
      const int64_t at = rows.begin(lane) * channels;
      const T* x = launch.in[0].data<T>() + at;
      Acc* mean = launch.out[1].data<Acc>() + lane * channels;
      Acc* var = launch.out[2].data<Acc>() + lane * channels;
      lane_moments(launch.context, cut, channels, sums, x, mean, var);
      fill_affine<Acc>(affine, setup_, mean, var, launch.in.subspan(1), channels);
      normalize(launch.context, setup_, cut, channels, affine, x, launch.out[0].data<T>() + at);
    }
  });
}

size_t BatchNormEval::workspace(std::span<const Spec> in, Context& context) const {
  if (context.device().kind == Device::Kind::cuda) return 0;
  return dispatch_floating(name(), in[0].dtype,
                           [&](auto t) { return affine_bytes<Accumulator<decltype(t)>>(in[0].shape[-1]); });
}

void BatchNormEval::run_cpu(Launch& launch) const {
  const int64_t channels = launch.in[0].size(-1);
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    using Acc = Accumulator<T>;
    Scratch scratch(launch.workspace);
    const Affine<Acc> affine = take_affine<Acc>(scratch, channels);
    fill_affine<Acc>(affine, setup_, launch.in[1].data<Acc>(), launch.in[2].data<Acc>(), launch.in.subspan(3),
                     channels);
    const RowCut cut(launch.in[0].numel() / channels, channels);
    normalize(launch.context, setup_, cut, channels, affine, launch.in[0].data<T>(), launch.out[0].data<T>());
  });
}

size_t BatchNormGrad::workspace(std::span<const Spec> in, Context& context) const {
  if (context.device().kind == Device::Kind::cuda) {
    const BatchNormBlocks blocks = batch_norm_blocks(setup_, in[0]);
    return blocks.partial_bytes() + blocks.lane_bytes();
  }
  const Rows rows(setup_, in[0].shape);
  return dispatch_floating(name(), in[0].dtype,
                           [&](auto t) { return Backward<Activation::none, decltype(t)>::bytes(rows, context); });
}

void BatchNormGrad::run_cpu(Launch& launch) const {
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    switch (setup_.options.activation) {
      case Activation::none: return Backward<Activation::none, T>(launch, setup_).run();
      case Activation::relu: return Backward<Activation::relu, T>(launch, setup_).run();
      case Activation::gelu: return Backward<Activation::gelu, T>(launch, setup_).run();
    }
  });
}

}  // namespace tern
