#include "kernels/broadcast_to/broadcast_to.h"

#include <algorithm>

#include "core/autograd.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/sum_axes.h"

namespace tern {
namespace cuda {
void broadcast_to(Launch& launch, const Shape& view);  // broadcast_to.cu
}
namespace {

class BroadcastTo final : public OpBase<BroadcastTo> {
 public:
  BroadcastTo(const Shape& view, const Shape& out, int64_t lane_size) : view_(view), out_(out), lane_size_(lane_size) {}
  std::string_view name() const override { return "broadcast_to"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    if (in[0].numel() != view_.numel())
      throw_shape(name(), in[0].str() + " does not have the elements of " + view_.str());
    if (broadcast(view_, out_, "broadcast_to") != out_)
      throw_shape(name(), view_.str() + " does not broadcast to " + out_.str());
    return {Spec{in[0].dtype, out_}};
  }

  void run_cpu(Launch& launch) const {
    const auto loop = plan_broadcast<1>(out_, {view_});
    const bool steps = loop.strides[0][0] != 0;
    dispatch_all(launch.out[0].dtype(), [&](auto t) {
      using T = decltype(t);
      const T* x = launch.in[0].data<T>();
      T* y = launch.out[0].data<T>();
      for_chunks(launch.context, out_.numel(), [&](int64_t begin, int64_t end) {
        walk_rows(loop, begin, end, [&](int64_t position, const std::array<int64_t, 1>& offsets, int64_t count) {
          const T* from = x + offsets[0];
          if (steps)
            std::copy(from, from + count, y + position);
          else
            std::fill(y + position, y + position + count, *from);
        });
      });
    });
  }

  void run_cuda(Launch& launch) const { cuda::broadcast_to(launch, view_); }

  Saves saves(GradMask) const override { return {}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    AxisMask mask;
    const int missing = out_.rank() - view_.rank();
    for (int i = 0; i < out_.rank(); ++i)
      if (i < missing || view_[i - missing] == 1) mask.set(static_cast<size_t>(i));
    return {sum_axes(dy[0], mask, node.input_spec(0).shape, {.lane_size = lane_size_})};
  }

 private:
  Shape view_, out_;
  int64_t lane_size_;
};

}  // namespace

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  return x.shape() == shape ? x : broadcast_to(x, x.shape(), shape);
}

Tensor broadcast_to(const Tensor& x, const Shape& view, const Shape& shape) {
  return apply_one(std::make_shared<BroadcastTo>(view, shape, x.context().lane_size()), {x});
}

}  // namespace tern
