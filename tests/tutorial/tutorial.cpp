// The program of docs/tutorial.md: its blocks of C++, one after another.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "core/autograd.h"
#include "core/plan.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "nn/network.h"
#include "nn/weights.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

using namespace tern;

/// Ends the program when something is not as the tutorial says.
void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::exit(1);
}

void tensors_and_gradients(Context& context) {
  Tensor w = Tensor::from<float>(context, {3}, std::vector<float>{1, -2, 3});
  w.set_requires_grad();
  const Tensor loss = sum(w * w);
  loss.backward();
  expect(loss.item() == 14, "1 + 4 + 9 = 14");
  expect(w.grad().to_vector<float>() == std::vector<float>{2, -4, 6}, "the gradient of w * w is 2 w");
}

struct Pictures {
  Tensor images;  // f32 [N, 12, 12, 1]
  Tensor labels;  // i64 [N]
};

constexpr int64_t kSide = 12, kClasses = 3;

Pictures draw_pictures(Context& context, int64_t count, uint64_t seed) {
  std::vector<float> pixels;
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    const Random4 random = random4({.seed = seed, .sample = static_cast<uint64_t>(i)});
    const int64_t label = uniform_below(random.v[0], kClasses), shift = uniform_below(random.v[1], 4);
    for (int64_t y = 0; y < kSide; ++y)
      for (int64_t x = 0; x < kSide; ++x) {
        const int64_t across = label == 0 ? y : label == 1 ? x : x + y;
        const float stripe = (across + shift) % 4 < 2 ? 0.5F : -0.5F;
        const Random4 noise = random4({.seed = seed, .sample = static_cast<uint64_t>(i), .op = 1}, static_cast<uint32_t>(y * kSide + x));
        pixels.push_back(stripe + 3 * uniform01(noise.v[0]) - 1.5F);
      }
    labels.push_back(label);
  }
  return {Tensor::from<float>(context, {count, kSide, kSide, 1}, pixels), Tensor::from<int64_t>(context, {count}, labels)};
}

/// Returns the loss of the last step.
double train(Context& context, nn::Module& network, const Pictures& data, int64_t epochs) {
  constexpr int64_t kBatch = 32;
  const int64_t steps_per_epoch = data.labels.numel() / kBatch;
  ParameterStore store(context, network.parameters());
  const auto optimizer = make_adamw(store, {{.segments = store.segments(), .weight_decay = 0.01}});
  const auto schedule = make_schedule({.name = "onecycle", .max_lr = 0.01}, epochs * steps_per_epoch);
  const StepInputs rates{.lr = Tensor::zeros(context, {1}, DType::f64),
                         .grad_scale = Tensor::full(context, {1}, 1),
                         .skip = Tensor::zeros(context, {1})};

  CompiledStep step = compile(context, [&](std::span<const Tensor> in) {
    const Tensor loss = cross_entropy(network(in[0]), in[1]);
    const std::vector<Tensor> gradients = grad(std::span(&loss, 1), store.handles());
    for (size_t i = 0; i < gradients.size(); ++i) store.view(store.grads, store.segments()[i]).copy_from(gradients[i]);
    optimizer->step(rates);
    return std::vector<Tensor>{loss.detach()};
  });

  network.train();
  double loss = 0;
  for (int64_t i = 0; i < epochs * steps_per_epoch; ++i) {
    const int64_t begin = i % steps_per_epoch * kBatch;
    rates.lr.write<double>(std::vector<double>{schedule->at(i)});
    loss = step({slice(data.images, 0, begin, begin + kBatch), slice(data.labels, 0, begin, begin + kBatch)})[0].item();
  }
  return loss;
}

/// The share of the pictures whose largest score is their label's.
double accuracy(Context& context, nn::Module& network, const Pictures& data) {
  const NoGrad no_grad(context);
  network.train(false);
  const Tensor right = top_k_correct(network(data.images), data.labels, 1);
  network.train();
  return mean(cast(right, DType::f32)).item();
}

nn::Sequential make_mlp(Context& context, uint64_t seed, nn::Lambda::Function activation) {
  nn::Sequential mlp;
  mlp.emplace<nn::Lambda>("flatten", nn::flatten_as_pytorch);
  mlp.emplace<nn::Linear>("fc1", context, kSide * kSide, 32);
  mlp.emplace<nn::Lambda>("activation", std::move(activation));
  mlp.emplace<nn::Linear>("fc2", context, 32, kClasses);
  nn::initialize(mlp.parameters(), seed);
  return mlp;
}

std::unique_ptr<nn::Network> make_cnn(Context& context, uint64_t seed) {
  const std::vector<nn::LayerSpec> layers{
      {.type = "conv2d", .name = "conv1", .out = 8, .kernel = 3, .padding = 1, .bias = false},
      {.type = "batch_norm", .name = "bn1"},
      {.type = "relu"},
      {.type = "max_pool", .kernel = 2},
      {.type = "conv2d", .name = "conv2", .out = 16, .kernel = 3, .padding = 1, .bias = false},
      {.type = "batch_norm", .name = "bn2"},
      {.type = "relu"},
      {.type = "global_avg_pool"},
      {.type = "linear", .name = "fc", .out = kClasses}};
  return nn::build_network(context, layers, {.height = kSide, .width = kSide, .channels = 1}, seed);
}

void save(const std::filesystem::path& file, nn::Module& network) { write_safetensors(file, nn::weight_sources(network)); }

void load(const std::filesystem::path& file, nn::Module& network) { nn::load_weights(network, SafetensorsFile::open(file)); }

class SquaredRelu final : public Op {
 public:
  std::string_view name() const override { return "squared_relu"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override {
    if (in[0].dtype != DType::f32) throw_dtype(name(), "got " + in[0].str() + ", wants f32");
    return {in[0]};
  }
  void run(Launch& launch) const override {
    const std::span<const float> x = launch.in[0].span<float>();
    const std::span<float> y = launch.out[0].span<float>();
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] > 0 ? x[i] * x[i] : 0;
  }
  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {2.0 * dy[0] * relu(node.input(0))};
  }
};

Tensor squared_relu(const Tensor& x) { return apply_one(std::make_shared<SquaredRelu>(), {x}); }

void check_squared_relu(Context& context) {
  const float step = 1.0F / 64;
  for (const float at : {-2.0F, -0.5F, 0.25F, 3.0F}) {
    Tensor x = Tensor::full(context, {1}, at);
    x.set_requires_grad();
    const Tensor y = squared_relu(x);
    y.backward();
    const double above = squared_relu(Tensor::full(context, {1}, at + step)).item();
    const double below = squared_relu(Tensor::full(context, {1}, at - step)).item();
    expect(std::abs(x.grad().item() - (above - below) / (2 * step)) < 1e-4, "the gradient of squared_relu");
  }
}

int main() {
  Context context;
  tensors_and_gradients(context);
  check_squared_relu(context);

  const Pictures training = draw_pictures(context, 512, /*seed=*/1), test = draw_pictures(context, 256, /*seed=*/2);
  nn::Sequential mlp = make_mlp(context, /*seed=*/1, [](const Tensor& x) { return relu(x); });
  nn::Sequential squared = make_mlp(context, /*seed=*/1, squared_relu);
  const auto cnn = make_cnn(context, /*seed=*/1);
  const auto report = [&](const char* name, nn::Module& network) {
    const double loss = train(context, network, training, /*epochs=*/10), share = accuracy(context, network, test);
    std::printf("%-30s loss %.3f, test accuracy %.1f %%\n", name, loss, 100 * share);
    return share;
  };
  expect(report("perceptron", mlp) > 0.8, "the perceptron learns");
  expect(report("perceptron, squared ReLU", squared) > 0.8, "the perceptron with an op of our own learns");
  expect(report("convolutional network", *cnn) > 0.9, "the convolutional network learns");

  const std::filesystem::path file = std::filesystem::temp_directory_path() / "tern-tutorial.safetensors";
  save(file, *cnn);
  const auto loaded = make_cnn(context, /*seed=*/7);
  load(file, *loaded);
  expect(accuracy(context, *loaded, test) == accuracy(context, *cnn, test), "loaded weights are the saved ones");
  std::filesystem::remove(file);
  return 0;
}
