#include "kernels/where/where.h"

#include "kernels/common/elementwise.h"

namespace tern {
namespace cuda {
void where(Launch& launch);  // where.cu
}
namespace {

class Where final : public OpBase<Where> {
 public:
  explicit Where(int64_t lane_size) : lane_size_(lane_size) {}
  std::string_view name() const override { return "where"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_elements(name(), in);
    if (in[0].dtype != DType::u8) throw_dtype(name(), "the condition is " + in[0].str() + ", wants u8");
    if (in[1].dtype != in[2].dtype)
      throw_dtype(name(), "got " + in[1].str() + " and " + in[2].str() + ", wants one dtype");
    return {Spec{in[1].dtype, broadcast(in[0].shape, broadcast(in[1].shape, in[2].shape, "where"), "where")}};
  }

  void run_cpu(Launch& launch) const {
    const auto loop =
        plan_broadcast<3>(launch.out[0].shape(), {launch.in[0].shape(), launch.in[1].shape(), launch.in[2].shape()});
    const int64_t condition_step = loop.strides[0][0], a_step = loop.strides[1][0], b_step = loop.strides[2][0];
    const uint8_t* condition = launch.in[0].data<uint8_t>();
    dispatch_all(launch.out[0].dtype(), [&](auto t) {
      using T = decltype(t);
      const T* a = launch.in[1].data<T>();
      const T* b = launch.in[2].data<T>();
      T* out = launch.out[0].data<T>();
      for_chunks(launch.context, launch.out[0].numel(), [&](int64_t begin, int64_t end) {
        walk_rows(loop, begin, end, [&](int64_t position, const std::array<int64_t, 3>& offsets, int64_t count) {
          for (int64_t i = 0; i < count; ++i)
            out[position + i] =
                condition[offsets[0] + i * condition_step] ? a[offsets[1] + i * a_step] : b[offsets[2] + i * b_step];
        });
      });
    });
  }

  void run_cuda(Launch& launch) const { cuda::where(launch); }

  Saves saves(GradMask) const override { return {.inputs = GradMask(1), .outputs = {}}; }
  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> dy) const override {
    const Tensor condition = node.input(0);
    const Tensor zero = Tensor::zeros(node.context(), Shape{}, dy[0].dtype());
    std::vector<Tensor> result(3);
    if (node.needs(1)) result[1] = sum_to(where(condition, dy[0], zero), node.input_spec(1).shape, lane_size_);
    if (node.needs(2)) result[2] = sum_to(where(condition, zero, dy[0]), node.input_spec(2).shape, lane_size_);
    return result;
  }

 private:
  int64_t lane_size_;
};

}  // namespace

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return apply_one(std::make_shared<Where>(a.context().lane_size()), {condition, a, b});
}

}  // namespace tern
