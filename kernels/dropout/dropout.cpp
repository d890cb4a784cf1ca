#include "kernels/dropout/dropout.h"

#include "core/autograd.h"
#include "core/convert.h"
#include "core/error.h"
#include "core/rng.h"
#include "kernels/common/parallel.h"

namespace tern {
namespace cuda {
void dropout(Launch& launch, const Dropout& options);  // dropout.cu
}
namespace {

Tensor dropout_with(const Tensor& x, const Tensor& key, const Tensor& samples, Dropout options);

/// in: x, key, [samples]. out: y, and a copy of the key: the context's changes in place, and the gradient must draw the
/// same mask. Linear in x with a diagonal matrix, so it is its own gradient.
class DropoutOp final : public OpBase<DropoutOp> {
 public:
  explicit DropoutOp(Dropout options) : options_(options) {}
  std::string_view name() const override { return "dropout"; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override;
  Saves saves(GradMask) const override { return {GradMask(0b100), GradMask(0b10)}; }
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::dropout(launch, options_); }

 private:
  Dropout options_;
};

std::vector<Spec> DropoutOp::infer(std::span<const Spec> in) const {
  const Spec& x = in[0];
  if (!is_floating(x.dtype)) throw_not_floating(name(), x.dtype);
  if (x.shape.rank() < 1 || x.numel() == 0) throw_shape(name(), "x is " + x.shape.str() + ", wants [N, ..], not empty");
  if (in[1] != Spec{DType::i64, {2}}) throw_shape(name(), "the random key is " + in[1].str() + ", wants i64[2]");
  if (in.size() > 2 && in[2] != Spec{DType::i64, {x.shape[0]}})
    throw_shape(name(), "rng_samples is " + in[2].str() + " for a batch of " + std::to_string(x.shape[0]) + " rows");
  return {x, in[1]};
}

std::vector<Tensor> DropoutOp::grad(const Node& node, std::span<const Tensor> dy) const {
  std::vector<Tensor> result(static_cast<size_t>(node.input_count()));
  if (dy[0].defined())
    result[0] = dropout_with(dy[0], node.output(1), node.input_count() > 2 ? node.input(2) : Tensor{}, options_);
  return result;
}

void DropoutOp::run_cpu(Launch& launch) const {
  const int64_t rows = launch.in[0].size(0), width = launch.in[0].numel() / rows;
  const int64_t* key = launch.in[1].data<int64_t>();
  const int64_t* samples = launch.in.size() > 2 ? launch.in[2].data<int64_t>() : nullptr;
  std::copy(key, key + 2, launch.out[1].data<int64_t>());
  const float p = static_cast<float>(options_.p);
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const auto scale = static_cast<Compute<T>>(1.0 / (1.0 - options_.p));
    for_chunks(
        launch.context, rows,
        [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            const T* x = launch.in[0].data<T>() + r * width;
            T* y = launch.out[0].data<T>() + r * width;
            const RngKey row{static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1]),
                             static_cast<uint64_t>(samples ? samples[r] : r), kRngFirstLayer + options_.layer};
            for (int64_t i = 0; i < width; i += 4) {
              const Random4 words = random4(row, static_cast<uint32_t>(i / 4));
              for (int64_t j = 0; j < std::min<int64_t>(4, width - i); ++j)
                y[i + j] =
                    store_element<T>(load_element(x[i + j]) * (uniform01(words.v[j]) >= p ? scale : Compute<T>{0}));
            }
          }
        },
        std::max<int64_t>(1, 2048 / width));
  });
}

Tensor dropout_with(const Tensor& x, const Tensor& key, const Tensor& samples, Dropout options) {
  std::vector<Tensor> inputs = {x, key};
  if (samples.defined()) inputs.push_back(samples);
  return tern::apply(std::make_shared<DropoutOp>(options), inputs)[0];
}

}  // namespace

Tensor dropout(const Tensor& x, Dropout options) {
  if (!(options.p >= 0 && options.p < 1))
    throw ConfigError("[dropout] p is " + std::to_string(options.p) + ", wants 0 to below 1");
  if (!x.defined()) throw_shape("dropout", "x is undefined");
  Context& context = x.context();
  return dropout_with(x, context.rng_key(), context.rng_samples(), options);
}

}  // namespace tern
