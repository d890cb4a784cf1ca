#include "kernels/argmax/argmax.h"

#include "core/convert.h"
#include "core/op.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

namespace tern {
namespace cuda {
void argmax(Launch& launch, int axis);  // argmax.cu
}
namespace {

class ArgmaxOp final : public OpBase<ArgmaxOp> {
 public:
  explicit ArgmaxOp(const Argmax& options) : options_(options) {}
  std::string_view name() const override { return "argmax"; }
  bool differentiable() const override { return false; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    const int rank = in[0].shape.rank();
    if (options_.axis < -rank || options_.axis >= rank)
      throw_shape(name(), "axis " + std::to_string(options_.axis) + " is not in " + in[0].shape.str());
    return {
        Spec{DType::i64, options_.keepdim ? in[0].shape.with(options_.axis, 1) : in[0].shape.without(options_.axis)}};
  }

  void run_cpu(Launch& launch) const {
    const Shape& shape = launch.in[0].shape();
    const int axis = shape.normalize_axis(options_.axis);
    const int64_t extent = shape[axis];
    int64_t stride = 1;
    for (int i = axis + 1; i < shape.rank(); ++i) stride *= shape[i];
    int64_t* out = launch.out[0].data<int64_t>();
    dispatch_all(launch.in[0].dtype(), [&](auto t) {
      using T = decltype(t);
      const T* x = launch.in[0].data<T>();
      const auto search = [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; ++o)
          out[o] = first_largest(x + o / stride * stride * extent + o % stride, extent, stride);
      };
      for_chunks(launch.context, launch.out[0].numel(), search, std::max<int64_t>(1, kElementChunk / extent));
    });
  }
  void run_cuda(Launch& launch) const { cuda::argmax(launch, launch.in[0].shape().normalize_axis(options_.axis)); }

 private:
  template <class T>
  static int64_t first_largest(const T* x, int64_t extent, int64_t stride) {
    int64_t best = 0;
    auto largest = load_element(x[0]);
    for (int64_t i = 1; i < extent && largest == largest; ++i) {
      const auto value = load_element(x[i * stride]);
      if (value > largest || value != value) {
        largest = value;
        best = i;
      }
    }
    return best;
  }
  Argmax options_;
};

}  // namespace

Tensor argmax(const Tensor& x, const Argmax& options) { return apply_one(std::make_shared<ArgmaxOp>(options), {x}); }

}  // namespace tern
