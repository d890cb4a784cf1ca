// Muon against its formula in f64, and the initialisers and augmentation that come with airbench94.
#include <cmath>

#include "core/error.h"
#include "core/plan.h"
#include "nn/network.h"
#include "optim/optimizer.h"
#include "tests/catch.h"

namespace tern {
namespace {

using Matrix = std::vector<std::vector<double>>;

Matrix zeros(size_t rows, size_t cols) { return Matrix(rows, std::vector<double>(cols)); }

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix y = zeros(a.size(), b[0].size());
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t k = 0; k < b.size(); ++k)
      for (size_t j = 0; j < b[0].size(); ++j) y[i][j] += a[i][k] * b[k][j];
  return y;
}

Matrix transposed(const Matrix& a) {
  Matrix y = zeros(a[0].size(), a.size());
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < a[0].size(); ++j) y[j][i] = a[i][j];
  return y;
}

double frobenius(const Matrix& a) {
  double sum = 0;
  for (const auto& row : a)
    for (const double v : row) sum += v * v;
  return std::sqrt(sum);
}

Matrix combination(double p, const Matrix& a, double q, const Matrix& b) {
  Matrix y = a;
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < a[0].size(); ++j) y[i][j] = p * a[i][j] + q * b[i][j];
  return y;
}

/// orthogonal(d) as the paper's page writes it, for a matrix that is not tall.
Matrix newton_schulz(const Matrix& d, int steps) {
  Matrix x = combination(1 / (frobenius(d) + 1e-7), d, 0, d);
  for (int i = 0; i < steps; ++i) {
    const Matrix a = product(x, transposed(x));
    const Matrix b = combination(-4.7750, a, 2.0315, product(a, a));
    x = combination(3.4445, x, 1, product(b, x));
  }
  return x;
}

float value(int64_t i, int64_t t) { return static_cast<float>((i * 7919 + t * 104729) % 2003 - 1001) / 1024; }

Matrix matrix_of(std::span<const float> values, size_t cols) {
  Matrix m = zeros(values.size() / cols, cols);
  for (size_t i = 0; i < values.size(); ++i) m[i / cols][i % cols] = values[i];
  return m;
}

/// Parameters of every shape that matters: two that are iterated together, a wide and a tall one, and one left alone.
struct Model {
  explicit Model(int threads, bool poison = true) : context(options(threads, poison)) {
    const auto fill = [&](const Shape& shape, int64_t t) {
      std::vector<float> values;
      for (int64_t i = 0; i < shape.numel(); ++i) values.push_back(value(i, t));
      return Tensor::from(context, shape, values);
    };
    tensors = {fill({6, 3, 3, 4}, 1), fill({6, 3, 3, 4}, 2), fill({20, 7}, 3), fill({5}, 4), fill({7, 20}, 5)};
    const ParamKind kinds[] = {ParamKind::conv_weight, ParamKind::conv_weight, ParamKind::linear_weight, ParamKind::bias, ParamKind::linear_weight};
    std::vector<Parameter> parameters;
    for (size_t i = 0; i < tensors.size(); ++i) parameters.push_back({"p" + std::to_string(i), kinds[i], &tensors[i]});
    store.emplace(context, parameters);
  }
  static Context::Options options(int threads, bool poison) {
    Context::Options options;
    options.threads = threads;
    options.poison = poison;
    return options;
  }
  void set_gradients(int64_t step) {
    for (size_t p = 0; p < tensors.size(); ++p) {
      std::vector<float> values;
      for (int64_t i = 0; i < tensors[p].numel(); ++i) values.push_back(gradient(static_cast<int64_t>(p), i, step));
      store->view(store->grads, store->segments()[p]).write(std::span<const float>(values));
    }
  }
  static float gradient(int64_t parameter, int64_t i, int64_t step) { return value(i, 10 * step + parameter + 20) * 0.25F; }
  std::vector<Part> parts(double weight_decay) const {
    Part part{{}, weight_decay};
    for (const size_t p : {0, 1, 2, 4}) part.segments.push_back(store->segments()[p]);
    return {part};
  }
  StepInputs inputs(double lr, double scale, double skip) {
    return {Tensor::full(context, {1}, lr, DType::f64), Tensor::full(context, {1}, scale), Tensor::full(context, {1}, skip)};
  }

  Context context;
  std::vector<Tensor> tensors;
  std::optional<ParameterStore> store;
};

/// Three steps, the second of which is skipped; the store's parameters after them.
std::vector<float> trained(Model& model, const MuonOptions& options, bool plan) {
  const auto muon = make_muon(*model.store, model.parts(0.1), options);
  CompiledStep step = compile(
      model.context,
      [&](std::span<const Tensor> in) {
        NoGrad no_grad(model.context);
        muon->step({in[0], in[1], in[2]});
        return std::vector<Tensor>{};
      },
      {.plan = plan, .arena = {}});
  for (int t = 0; t < 3; ++t) {
    model.set_gradients(t);
    const StepInputs inputs = model.inputs(0.05 * (t + 1), 0.5, t == 1 ? 1 : 0);
    step({inputs.lr, inputs.grad_scale, inputs.skip});
  }
  return model.store->master.to_vector<float>();
}

TEST_CASE("muon: momentum, Newton-Schulz, norm and decay as its formula in f64; a skipped step changes nothing", "[optim]") {
  for (const MuonOptions options : {MuonOptions{.momentum = 0.6, .nesterov = true, .ns_steps = 3, .fixed_norm = true},
                                    MuonOptions{.momentum = 0.95, .nesterov = false, .ns_steps = 5, .fixed_norm = false}}) {
    Model model(2);
    std::vector<Matrix> wanted, momentum;
    for (const Tensor& tensor : model.tensors) {
      wanted.push_back(matrix_of(tensor.to_vector<float>(), static_cast<size_t>(tensor.numel() / tensor.size(0))));
      momentum.push_back(zeros(wanted.back().size(), wanted.back()[0].size()));
    }
    for (const int t : {0, 2})
      for (const size_t p : {0, 1, 2, 4}) {
        Matrix g = wanted[p];
        for (size_t i = 0; i < g.size(); ++i)
          for (size_t j = 0; j < g[0].size(); ++j)
            g[i][j] = 0.5 * double{Model::gradient(static_cast<int64_t>(p), static_cast<int64_t>(i * g[0].size() + j), t)};
        momentum[p] = combination(options.momentum, momentum[p], 1, g);
        const Matrix d = options.nesterov ? combination(1, g, options.momentum, momentum[p]) : momentum[p];
        const bool tall = d.size() > d[0].size();
        const Matrix o = tall ? transposed(newton_schulz(transposed(d), options.ns_steps)) : newton_schulz(d, options.ns_steps);
        const double lr = 0.05 * (t + 1);
        const double scale = options.fixed_norm ? std::sqrt(static_cast<double>(d.size())) / frobenius(wanted[p]) : 1;
        wanted[p] = combination(scale * (1 - lr * 0.1), wanted[p], -lr, o);
      }
    trained(model, options, false);
    for (size_t p = 0; p < wanted.size(); ++p) {
      INFO("parameter " << p);
      const Matrix got = matrix_of(model.tensors[p].to_vector<float>(), wanted[p][0].size());
      CHECK(frobenius(combination(1, got, -1, wanted[p])) < 2e-6 * frobenius(wanted[p]));
    }
  }
}

TEST_CASE("muon: the update's singular values are near 1", "[optim]") {
  Model model(1);
  const auto before = model.tensors[2].to_vector<float>();
  const auto muon = make_muon(*model.store, model.parts(0), {.momentum = 0.9, .nesterov = true, .ns_steps = 5, .fixed_norm = false});
  model.set_gradients(0);
  NoGrad no_grad(model.context);
  muon->step(model.inputs(1, 1, 0));
  const Matrix update = combination(1, matrix_of(before, 7), -1, matrix_of(model.tensors[2].to_vector<float>(), 7));
  const Matrix gram = product(transposed(update), update);  // [7, 7]; its trace is the sum of squared singular values
  double trace = 0;
  for (size_t i = 0; i < 7; ++i) trace += gram[i][i];
  CHECK(trace > 7 * 0.5);
  CHECK(trace < 7 * 1.5);
}

TEST_CASE("muon: threads, plan and poisoned memory do not change a bit", "[optim]") {
  const MuonOptions options{.momentum = 0.6, .nesterov = true, .ns_steps = 3, .fixed_norm = true};
  Model first(1);
  const std::vector<float> one = trained(first, options, false);
  for (const int threads : {1, 2, 3})
    for (const bool plan : {false, true}) {
      Model model(threads, plan);
      CHECK(trained(model, options, plan) == one);
    }
}

TEST_CASE("muon refuses parameters that are no matrix, by name", "[optim]") {
  Model model(1);
  const std::vector<Part> parts{{{model.store->segments()[3]}, 0}};
  CHECK_THROWS_WITH(make_muon(*model.store, parts), HasText("'p3' is none"));
}

TEST_CASE("init dirac: the first filters pass their channel on; unit_std: a deviation of 1", "[nn]") {
  Context context({.threads = 1});
  std::vector<nn::LayerSpec> layers(3);
  layers[0] = {.type = "conv2d", .name = "conv", .out = 5, .kernel = 3, .padding = 1};
  layers[0].bias = false;
  const auto plain = nn::build_network(context, {layers[0]}, {.height = 6, .width = 4, .channels = 3}, 1);
  layers[0].init = "dirac";
  layers[1] = {.type = "flatten"};
  layers[2] = {.type = "linear", .name = "head", .out = 10};
  layers[2].init = "unit_std";
  const auto network = nn::build_network(context, layers, {.height = 6, .width = 4, .channels = 3}, 1);
  NoGrad no_grad(context);
  const Tensor conv = *network->parameters()[0].tensor, x = Tensor::arange(context, 6 * 4 * 3, DType::f32);
  const auto y = tern::conv2d(Tensor::from(context, {1, 6, 4, 3}, x.to_vector<float>()), conv, {.padding = 1}).to_vector<float>();
  for (int64_t pixel = 0; pixel < 24; ++pixel)
    for (int64_t c = 0; c < 3; ++c) CHECK(y[static_cast<size_t>(pixel * 5 + c)] == static_cast<float>(pixel * 3 + c));
  const auto drawn = plain->parameters()[0].tensor->to_vector<float>(), kept = conv.to_vector<float>();
  CHECK(std::equal(drawn.begin() + 81, drawn.end(), kept.begin() + 81));
  double sum = 0, squares = 0;
  const auto head = network->parameters()[1].tensor->to_vector<float>();
  for (const float v : head) sum += v, squares += double{v} * v;
  const auto n = static_cast<double>(head.size());
  CHECK((squares - sum * sum / n) / (n - 1) == Approx(1).epsilon(1e-5));
}

TEST_CASE("init whiten: what the filters make of the patches is uncorrelated and of variance 1; the second half is negative", "[nn]") {
  Context context({.threads = 1});
  const Shape shape{40, 9, 8, 3};
  std::vector<float> pictures;
  uint64_t random = 1;
  float smooth = 0;  // neighbours and channels correlate, as in pictures
  for (int64_t i = 0; i < shape.numel(); ++i) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    smooth = 0.8F * smooth + static_cast<float>(random >> 40) * 0x1p-24F - 0.4F;
    pictures.push_back(smooth);
  }
  const std::vector<float> filters = nn::whitening_filters(pictures, shape, 2);
  REQUIRE(filters.size() == 24 * 12);
  Matrix moments = zeros(12, 12);
  double patches = 0;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t y = 0; y < shape[1] - 1; ++y)
      for (int64_t x = 0; x < shape[2] - 1; ++x) {
        std::vector<double> out(12);
        for (size_t f = 0; f < 12; ++f)
          for (size_t j = 0; j < 12; ++j) {
            const int64_t r = static_cast<int64_t>(j) / 6, rest = static_cast<int64_t>(j) % 6;
            out[f] += double{filters[f * 12 + j]} * pictures[static_cast<size_t>(((n * shape[1] + y + r) * shape[2] + x) * 3 + rest)];
          }
        for (size_t a = 0; a < 12; ++a)
          for (size_t b = 0; b < 12; ++b) moments[a][b] += out[a] * out[b];
        ++patches;
      }
  for (size_t a = 0; a < 12; ++a)
    for (size_t b = 0; b < 12; ++b) CHECK(moments[a][b] / patches == Approx(a == b ? 1 : 0).margin(a == b ? 0.03 : 1e-4));
  for (size_t i = 0; i < 144; ++i) CHECK(filters[144 + i] == -filters[i]);

  nn::LayerSpec first{.type = "conv2d", .name = "w", .out = 24, .kernel = 2};
  first.init = "whiten";
  const auto network = nn::build_network(context, {first}, {.height = 9, .width = 8, .channels = 3}, 1);
  REQUIRE(network->wants_pictures());
  network->initialize_from(pictures, shape);
  CHECK(network->parameters()[0].tensor->to_vector<float>() == filters);
  CHECK_THROWS_AS(nn::whitening_filters(pictures, shape, 9), ShapeError);
}

}  // namespace
}  // namespace tern
