#include "kernels/cast/cast.h"

#include "core/autograd.h"
#include "core/convert.h"
#include "kernels/cast/convert_number.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

namespace tern {
namespace cuda {
void cast(Launch& launch);  // cast.cu
}
namespace {

class Cast final : public OpBase<Cast> {
 public:
  explicit Cast(DType dtype) : dtype_(dtype) {}
  std::string_view name() const override { return "cast"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    return {Spec{dtype_, in[0].shape}};
  }

  void run_cpu(Launch& launch) const {
    dispatch_all(launch.in[0].dtype(), [&](auto from) {
      dispatch_all(dtype_, [&](auto to) {
        using From = decltype(from);
        using To = decltype(to);
        const From* x = launch.in[0].data<From>();
        To* y = launch.out[0].data<To>();
        for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            y[i] = store_element<To>(convert_number<Compute<To>>(load_element(x[i])));
        });
      });
    });
  }

  void run_cuda(Launch& launch) const { cuda::cast(launch); }

  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    return {cast(dy[0], node.input_spec(0).dtype)};
  }

 private:
  DType dtype_;
};

}  // namespace

Tensor cast(const Tensor& x, DType dtype) {
  return x.dtype() == dtype ? x : apply_one(std::make_shared<Cast>(dtype), {x});
}

}  // namespace tern
