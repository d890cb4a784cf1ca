#include "kernels/top_k_correct/top_k_correct.h"

#include <cmath>

#include "core/convert.h"
#include "core/error.h"
#include "core/op.h"
#include "kernels/common/parallel.h"

namespace tern {
namespace cuda {
void top_k_correct(Launch& launch, int64_t k);  // top_k_correct.cu
}
namespace {

/// in: logits, labels. out: correct.
class TopKCorrect final : public OpBase<TopKCorrect> {
 public:
  explicit TopKCorrect(int64_t k) : k_(k) {}
  std::string_view name() const override { return "top_k_correct"; }
  bool differentiable() const override { return false; }
  std::vector<Spec> infer(std::span<const Spec> in) const override;
  void run_cpu(Launch& launch) const;
  void run_cuda(Launch& launch) const { cuda::top_k_correct(launch, k_); }

 private:
  int64_t k_;
};

std::vector<Spec> TopKCorrect::infer(std::span<const Spec> in) const {
  if (!is_floating(in[0].dtype)) throw_not_floating(name(), in[0].dtype);
  if (in[0].shape.rank() != 2 || in[0].numel() == 0)
    throw_shape(name(), "logits are " + in[0].shape.str() + ", wants [N,C], not empty");
  if (in[1] != Spec{DType::i64, {in[0].shape[0]}})
    throw_shape(name(), "labels are " + in[1].str() + " for logits " + in[0].shape.str());
  return {{DType::u8, {in[0].shape[0]}}};
}

/// NaN counts as the largest of all, as torch.topk sorts it.
template <class T>
bool is_correct(const T* x, int64_t classes, int64_t label, int64_t k) {
  if (label < 0 || label >= classes) return false;
  const auto own = load_element(x[label]);
  if (std::isnan(own)) return false;
  int64_t ahead = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const auto v = load_element(x[c]);
    ahead += std::isnan(v) || v > own || (v == own && c < label);
  }
  return ahead < k;
}

void TopKCorrect::run_cpu(Launch& launch) const {
  const int64_t rows = launch.in[0].size(0), classes = launch.in[0].size(1);
  const int64_t* labels = launch.in[1].data<int64_t>();
  uint8_t* correct = launch.out[0].data<uint8_t>();
  dispatch_floating(name(), launch.in[0].dtype(), [&](auto t) {
    const auto* x = launch.in[0].data<decltype(t)>();
    for_chunks(
        launch.context, rows,
        [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r)
            correct[r] = is_correct(x + r * classes, classes, labels[r], k_) ? 1 : 0;
        },
        std::max<int64_t>(1, kElementChunk / classes));
  });
}

}  // namespace

Tensor top_k_correct(const Tensor& logits, const Tensor& labels, int64_t k) {
  if (k < 1) throw ConfigError("[top_k_correct] k is " + std::to_string(k) + ", wants 1 or more");
  return apply_one(std::make_shared<TopKCorrect>(k), {logits, labels});
}

}  // namespace tern
