#include "optim/optimizer.h"

#include "kernels/adamw/adamw.h"
#include "kernels/add/add.h"
#include "kernels/cast/cast.h"
#include "kernels/ema/ema.h"
#include "kernels/mul/mul.h"
#include "kernels/sgd/sgd.h"
#include "optim/state.h"

namespace tern {
namespace {

/// The parts as stretches of the arena. Neighbours with one decay become one stretch: the padding between them is zero
/// in every arena and stays zero.
std::vector<UpdateSegment> update_segments(const std::vector<Part>& parts) {
  std::vector<UpdateSegment> stretches;
  for (const Part& part : parts)
    for (const Segment& s : part.segments) {
      const int64_t end = s.begin + s.padded;
      const bool joins = !stretches.empty() && stretches.back().end == s.begin && stretches.back().weight_decay == part.weight_decay;
      if (joins)
        stretches.back().end = end;
      else
        stretches.push_back({.begin = s.begin, .end = end, .group = 0, .weight_decay = part.weight_decay});
    }
  return stretches;
}

class AdamWOptimizer final : public Optimizer {
 public:
  AdamWOptimizer(ParameterStore& store, const std::vector<Part>& parts, AdamWOptions o)
      : options_{.beta1 = o.beta1, .beta2 = o.beta2, .eps = o.eps, .segments = update_segments(parts)},
        state_{.master = store.master, .m = state_like(store), .v = state_like(store),
               .step = Tensor::zeros(store.master.context(), {1}, DType::f64), .grads = store.grads, .lr = {}, .grad_scale = {}, .found_inf = {},
               .weights = store.weights} {}

  void step(const StepInputs& inputs) override {
    AdamWState state = state_;
    state.lr = inputs.lr;
    state.grad_scale = inputs.grad_scale;
    state.found_inf = inputs.skip;
    adamw(state, options_);
  }
  std::vector<StateTensor> state() const override {
    return {{"exp_avg", state_.m}, {"exp_avg_sq", state_.v}, {"step", state_.step}};
  }

 private:
  AdamW options_;
  AdamWState state_;
};

class SgdOptimizer final : public Optimizer {
 public:
  SgdOptimizer(ParameterStore& store, const std::vector<Part>& parts, SgdOptions o)
      : store_(store), options_{.momentum = o.momentum, .nesterov = o.nesterov, .segments = update_segments(parts)} {
    if (o.momentum != 0) momentum_ = state_like(store);
  }

  void step(const StepInputs& inputs) override {
    sgd({store_.master, momentum_, store_.grads, inputs.lr, inputs.grad_scale, inputs.skip, store_.weights}, options_);
  }
  std::vector<StateTensor> state() const override {
    if (!momentum_.defined()) return {};
    return {{"momentum", momentum_}};
  }

 private:
  ParameterStore& store_;
  Sgd options_;
  Tensor momentum_;
};

}  // namespace

Tensor state_like(const ParameterStore& store) {
  MemoryTag tag(store.master.context(), "optimizer state");
  return Tensor::zeros(store.master.context(), {store.size()});
}

std::unique_ptr<Optimizer> make_adamw(ParameterStore& store, const std::vector<Part>& parts, AdamWOptions options) {
  return std::make_unique<AdamWOptimizer>(store, parts, options);
}

std::unique_ptr<Optimizer> make_sgd(ParameterStore& store, const std::vector<Part>& parts, SgdOptions options) {
  return std::make_unique<SgdOptimizer>(store, parts, options);
}

WeightAverage::WeightAverage(ParameterStore& store, double decay) : store_(store), decay_(decay), average_(state_like(store)) {
  average_.copy_from(store.master);
}

void WeightAverage::step(const Tensor& skip) {
  // A decay of 1 leaves the average as it is.
  const Tensor decay = add(mul(cast(skip, DType::f64), 1 - decay_), decay_);
  ema(average_, store_.master, decay);
}

}  // namespace tern
