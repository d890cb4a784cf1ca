#include "kernels/bias_grad/bias_grad.h"

#include <algorithm>
#include <numeric>

#include "core/autograd.h"
#include "core/convert.h"
#include "core/lanes.h"
#include "core/op.h"
#include "core/thread_pool.h"
#include "kernels/broadcast_to/broadcast_to.h"
#include "kernels/common/check.h"
#include "kernels/common/device_reduction.h"
#include "kernels/common/scratch.h"
#include "kernels/common/sum_axes.h"

namespace tern {
namespace cuda {
void sum_axes(Launch& launch, AxisMask mask, SumAxes options);  // kernels/sum/sum.cu
}
namespace {

constexpr int64_t kRows = 64;     // summed in one chain; blocks of them are added then, which keeps rounding small
constexpr int64_t kColumns = 32;  // summed at a time, in registers

/// sum[j] = the rows' elements of `columns` columns; rows are `stride` elements apart.
template <class T>
void sum_rows(const T* from, int64_t stride, int64_t rows, int64_t columns, Compute<T>* sum) {
  using C = Compute<T>;
  std::fill_n(sum, columns, C(0));
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    C block[kColumns] = {};
    const int64_t end = std::min(rows, begin + kRows);
    if (columns == kColumns) {  // the same sums, with an extent that the compiler can keep in registers
      for (int64_t r = begin; r < end; ++r)
        for (int64_t j = 0; j < kColumns; ++j) block[j] += load_element(from[r * stride + j]);
    } else {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t j = 0; j < columns; ++j) block[j] += load_element(from[r * stride + j]);
    }
    for (int64_t j = 0; j < columns; ++j) sum[j] += block[j];
  }
}

/// sum[j] = a picture's elements [rows, width] of column j.
template <class T>
void sum_picture(const T* from, int64_t rows, int64_t width, Compute<T>* sum) {
  // Narrow rows are taken several at a time, as many as fill whole tiles of columns.
  const int64_t joined = width < kColumns ? kColumns / std::gcd(kColumns, width) : 1;
  const int64_t wide = joined * width, wide_rows = rows / joined;
  if (joined == 1 || wide_rows == 0) {
    for (int64_t j = 0; j < width; j += kColumns) sum_rows(from + j, width, rows, std::min(kColumns, width - j), sum + j);
    return;
  }
  Compute<T> sums[kColumns * kColumns];
  for (int64_t j = 0; j < wide; j += kColumns) sum_rows(from + j, wide, wide_rows, kColumns, sums + j);
  sum_rows(from + wide_rows * wide, width, rows - wide_rows * joined, width, sum);
  for (int64_t i = 0; i < joined; ++i)
    for (int64_t j = 0; j < width; ++j) sum[j] += sums[i * width + j];
}

AxisMask all_but_last(const Shape& dy) {
  AxisMask mask;
  for (int i = 0; i + 1 < dy.rank(); ++i) mask.set(static_cast<size_t>(i));
  return mask;
}

class BiasGradOp final : public OpBase<BiasGradOp> {
 public:
  explicit BiasGradOp(int64_t lane_size) : lane_size_(lane_size) {}

  std::string_view name() const override { return "bias_grad"; }

  std::vector<Spec> infer(std::span<const Spec> in) const override {
    require_same_floating(name(), in);
    require_elements(name(), in);
    if (in[0].shape.rank() < 2) throw_shape(name(), "got dy " + in[0].str() + ", wants [N,..,K]");
    return {{in[0].dtype, Shape{in[0].shape[-1]}}};
  }

  size_t workspace(std::span<const Spec> in, Context& context) const override {
    return dispatch_floating(name(), in[0].dtype, [&](auto t) {
      if (context.device().kind == Device::Kind::cuda)
        return reduce_workspace<Compute<decltype(t)>, decltype(t)>(
            context, LaneReduction(in[0].shape, all_but_last(in[0].shape), lane_size_));
      const int64_t pictures = in[0].shape[0], columns = in[0].shape[-1];
      return scratch_bytes<Compute<decltype(t)>>(pictures * columns);
    });
  }

  Saves saves(GradMask) const override { return {}; }

  std::vector<Tensor> grad(const Node& node, std::span<const Tensor> db) const override {
    return {broadcast_to(db[0], node.input_spec(0).shape)};
  }

  void run_cpu(Launch& l) const {
    dispatch_floating(name(), l.out[0].dtype(), [&](auto t) { run_typed<decltype(t)>(l); });
  }
  /// On a GPU it is a sum over axes like any other.
  void run_cuda(Launch& launch) const {
    cuda::sum_axes(launch, all_but_last(launch.in[0].shape()), {.lane_size = lane_size_});
  }

 private:
  template <class T>
  void run_typed(Launch& l) const {
    using C = Compute<T>;
    const Lanes lanes{l.in[0].size(0), lane_size_};
    const int64_t width = l.out[0].numel(), rows = l.in[0].numel() / lanes.rows / width;
    C* sums = Scratch(l.workspace).take<C>(lanes.rows * width);  // one vector a picture
    const T* dy = l.in[0].data<T>();
    T* db = l.out[0].data<T>();

    const auto sum_one = [&](int64_t n) { sum_picture(dy + n * rows * width, rows, width, sums + n * width); };
    // Lane sums gather in the vector of the lane's first picture.
    const auto sum_lane = [&](int64_t lane) {
      C* sum = sums + lanes.begin(lane) * width;
      for (int64_t n = lanes.begin(lane) + 1; n < lanes.end(lane); ++n)
        for (int64_t j = 0; j < width; ++j) sum[j] += sums[n * width + j];
    };
    if (l.in[0].numel() <= 1 << 15) {
      for (int64_t n = 0; n < lanes.rows; ++n) sum_one(n);
      for (int64_t lane = 0; lane < lanes.count(); ++lane) sum_lane(lane);
    } else {
      l.context.pool().parallel_for(lanes.rows, sum_one);
      l.context.pool().parallel_for(lanes.count(), sum_lane);
    }
    tree_sum(sums, lanes.count(), lanes.size * width, width);
    for (int64_t j = 0; j < width; ++j) db[j] = store_element<T>(sums[j]);
  }

  int64_t lane_size_;
};

}  // namespace

Tensor bias_grad(const Tensor& dy, BiasGrad options) {
  return apply_one(std::make_shared<BiasGradOp>(options.lane_size.value_or(dy.context().lane_size())), {dy});
}

}  // namespace tern
