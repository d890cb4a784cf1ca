#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "kernels/ops.h"
#include "optim/optimizer.h"
#include "optim/state.h"

namespace tern {
namespace {

/// The quintic's coefficients: they take singular values from near 0 to about 1 in few steps.
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;

/// `x` [batch, rows, cols], rows at most cols, each of Frobenius norm under 1 -> about their orthogonal factors.
Tensor newton_schulz(Tensor x, int steps) {
  for (int i = 0; i < steps; ++i) {
    const Tensor a = matmul(x, x, {.transpose_b = true});
    const Tensor polynomial = add(mul(a, kB), mul(matmul(a, a), kC));
    x = add(mul(x, kA), matmul(polynomial, x));
  }
  return x;
}

Tensor transposed(const Tensor& x) { return permute(x, {0, 2, 1}); }

class MuonOptimizer final : public Optimizer {
 public:
  MuonOptimizer(ParameterStore& store, const std::vector<Part>& parts, MuonOptions options)
      : store_(store), options_(options), momentum_(state_like(store)) {
    std::map<std::pair<int64_t, int64_t>, size_t> batch_of;
    for (const Part& part : parts)
      for (const Segment& segment : part.segments) {
        if (segment.kind != ParamKind::conv_weight && segment.kind != ParamKind::linear_weight)
          throw ConfigError("optim: muon updates weights of convolutions and linear layers, the parameter '" + segment.name + "' is none");
        const int64_t outputs = segment.shape[0], rest = segment.numel / outputs;
        const auto [at, is_new] = batch_of.try_emplace({std::min(outputs, rest), std::max(outputs, rest)}, batches_.size());
        if (is_new) batches_.emplace_back();
        batches_[at->second].push_back({segment, outputs, rest, part.weight_decay});
      }
  }

  void step(const StepInputs& inputs) override {
    const Context& context = store_.master.context();
    const Tensor lr = cast(inputs.lr, DType::f32), skip = cast(inputs.skip, DType::u8);
    const DType iterated = context.device().kind == Device::Kind::cuda ? DType::bf16 : DType::f32;
    for (const std::vector<Weight>& batch : batches_) {
      std::vector<Tensor> directions;
      for (const Weight& weight : batch) {
        const Tensor d = reshape(direction(weight, inputs.grad_scale, skip), {1, weight.outputs, weight.rest});
        const Tensor unit = cast(div(d, add(norm(d), 1e-7)), iterated);
        directions.push_back(weight.tall() ? transposed(unit) : unit);
      }
      const Tensor orthogonal = newton_schulz(concat(directions, 0), options_.ns_steps);
      for (size_t i = 0; i < batch.size(); ++i) {
        const Tensor one = slice(orthogonal, 0, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1);
        update(batch[i], cast(batch[i].tall() ? transposed(one) : one, DType::f32), lr, skip);
      }
    }
  }

  std::vector<StateTensor> state() const override { return {{"momentum", momentum_}}; }

 private:
  struct Weight {
    Segment segment;
    int64_t outputs, rest;
    double weight_decay;
    bool tall() const { return outputs > rest; }
  };

  /// The momentum's next value, and what follows from it.
  Tensor direction(const Weight& weight, const Tensor& grad_scale, const Tensor& skip) const {
    const Tensor grad = mul(store_.view(store_.grads, weight.segment), grad_scale);
    const Tensor momentum = store_.view(momentum_, weight.segment);
    const Tensor next = add(mul(momentum, options_.momentum), grad);
    const Tensor direction = options_.nesterov ? add(grad, mul(next, options_.momentum)) : next;
    momentum.copy_from(where(skip, momentum, next));
    return direction;
  }

  void update(const Weight& weight, const Tensor& orthogonal, const Tensor& lr, const Tensor& skip) const {
    const Tensor master = store_.view(store_.master, weight.segment);
    Tensor next = master;
    if (options_.fixed_norm) next = mul(next, div(Tensor::full(lr.context(), {1}, std::sqrt(static_cast<double>(weight.outputs))), norm(master)));
    if (weight.weight_decay != 0) next = mul(next, add(mul(lr, -weight.weight_decay), 1.0));
    next = sub(next, mul(reshape(orthogonal, weight.segment.shape), lr));
    master.copy_from(where(skip, master, next));
    if (store_.weights.defined()) store_.view(store_.weights, weight.segment).copy_from(cast(master, store_.weights.dtype()));
  }

  ParameterStore& store_;
  MuonOptions options_;
  Tensor momentum_;
  std::vector<std::vector<Weight>> batches_;  // of one shape up to transposition
};

}  // namespace

std::unique_ptr<Optimizer> make_muon(ParameterStore& store, const std::vector<Part>& parts, MuonOptions options) {
  return std::make_unique<MuonOptimizer>(store, parts, options);
}

}  // namespace tern
