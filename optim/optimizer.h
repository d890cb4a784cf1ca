#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/parameter_store.h"

namespace tern {

/// A tensor that an optimizer carries from step to step, by a stable name ("exp_avg").
struct StateTensor {
  std::string name;
  Tensor tensor;
};

/// What every step gets from outside, as tensors, so that a recorded step sees new values when it is replayed.
struct StepInputs {
  Tensor lr;          ///< f64 [1]
  Tensor grad_scale;  ///< f32 [1]: factor on gradients (clipping, loss scale)
  Tensor skip;        ///< f32 [1]: not zero leaves parameters and state as they are
};

/// Updates some of a store's parameters in place from store.grads: one pass over the flat arenas.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Not on the tape; the 16-bit weights, where the store has them, are rounded anew.
  virtual void step(const StepInputs& inputs) = 0;
  /// Handles to the state's own tensors: write into them to restore.
  virtual std::vector<StateTensor> state() const = 0;
};

/// A part of the store with its own weight decay.
struct Part {
  std::vector<Segment> segments;
  double weight_decay = 0;
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};
/// Adam with decoupled weight decay. State: exp_avg, exp_avg_sq, step. See kernels/adamw.
std::unique_ptr<Optimizer> make_adamw(ParameterStore& store, const std::vector<Part>& parts, AdamWOptions options = {});

struct SgdOptions {
  double momentum = 0;
  bool nesterov = false;
};
/// Gradient descent with momentum. State: momentum. See kernels/sgd.
std::unique_ptr<Optimizer> make_sgd(ParameterStore& store, const std::vector<Part>& parts, SgdOptions options = {});

struct MuonOptions {
  double momentum = 0.95;
  bool nesterov = true;
  int ns_steps = 5;         ///< Newton-Schulz iterations
  bool fixed_norm = false;  ///< each weight is scaled to a Frobenius norm of sqrt(outputs) before its update
};
/// Momentum whose every update is turned into the nearest orthogonal matrix, about: for weights of convolutions and linear layers, as
/// matrices [outputs, rest]. Throws ConfigError naming a parameter that is none. State: momentum. With g the gradient:
///   b = momentum * b + g;  d = nesterov ? g + momentum * b : b
///   p = (fixed_norm ? p * sqrt(outputs) / |p| : p) * (1 - lr * weight_decay) - lr * orthogonal(d)
/// orthogonal(d): X = d / (|d| + 1e-7), transposed where it is tall; ns_steps times X = a X + (b A + c A A) X, A = X X^T, (a, b, c) =
/// (3.4445, -4.7750, 2.0315). In f32 on the CPU, in bf16 on a GPU. Weights of one shape are iterated as one batch.
/// Ref: Jordan et al.: Muon (2024), kellerjordan.github.io/posts/muon; fixed_norm as in airbench94's variant with Muon.
std::unique_ptr<Optimizer> make_muon(ParameterStore& store, const std::vector<Part>& parts, MuonOptions options = {});

/// Exponential moving average of all parameters: average = decay * average + (1 - decay) * parameters.
class WeightAverage {
 public:
  /// Begins as the parameters are.
  WeightAverage(ParameterStore& store, double decay);
  /// In place, not on the tape; `skip` f32 [1]: not zero leaves the average as it is.
  void step(const Tensor& skip);
  /// f32 [store.size()], laid out like store.master.
  const Tensor& average() const { return average_; }

 private:
  ParameterStore& store_;
  double decay_;
  Tensor average_;
};

}  // namespace tern
