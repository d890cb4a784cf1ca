// Trains a small network on XOR with the installed package; exit code 0 when it has learnt all four rows.
#include <cstdio>

#include "core/autograd.h"
#include "kernels/ops.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "optim/optimizer.h"

int main() {
  using namespace tern;
  Context context;
  nn::Sequential mlp;
  mlp.emplace<nn::Linear>("fc1", context, 2, 16);
  mlp.emplace<nn::Lambda>("tanh", [](const Tensor& x) { return tern::tanh(x); });
  mlp.emplace<nn::Linear>("fc2", context, 16, 2);
  nn::initialize(mlp.parameters(), /*seed=*/1);

  ParameterStore store(context, mlp.parameters());
  auto optimizer = make_adamw(store, {{.segments = store.segments()}});
  const StepInputs inputs{.lr = Tensor::full(context, {1}, 0.05, DType::f64),
                          .grad_scale = Tensor::full(context, {1}, 1),
                          .skip = Tensor::zeros(context, {1})};
  std::vector<Tensor> weights;
  for (const Parameter& parameter : mlp.parameters()) weights.push_back(*parameter.tensor);

  const Tensor x = Tensor::from<float>(context, {4, 2}, std::vector<float>{0, 0, 0, 1, 1, 0, 1, 1});
  const Tensor labels = Tensor::from<int64_t>(context, {4}, std::vector<int64_t>{0, 1, 1, 0});
  Tensor loss;
  for (int step = 0; step < 200; ++step) {
    loss = cross_entropy(mlp(x), labels);
    const std::vector<Tensor> gradients = grad(std::span(&loss, 1), weights);
    for (size_t i = 0; i < gradients.size(); ++i) store.view(store.grads, store.segments()[i]).copy_from(gradients[i]);
    optimizer->step(inputs);
  }
  std::printf("loss after 200 steps: %.4f\n", loss.item());
  return loss.item() < 0.01 ? 0 : 1;
}
