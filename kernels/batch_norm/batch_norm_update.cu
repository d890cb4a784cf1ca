#include "core/launch.cuh"
#include "kernels/batch_norm/batch_norm.h"

namespace tern::cuda {
namespace {

/// One block, which counts the batches; a thread takes a channel through all lanes.
template <class T>
__global__ void update_kernel(T* running_mean, T* running_var, int64_t* num_batches, const T* mean, const T* var,
                              int64_t channels, int64_t rows, int64_t lane_rows, int64_t lanes, double momentum,
                              const float* skip) {
  if (skip != nullptr && *skip != 0) return;
  const int64_t before = *num_batches;
  __syncthreads();  // everybody has read it
  if (threadIdx.x == 0) *num_batches = before + lanes;
  for (int64_t c = threadIdx.x; c < channels; c += blockDim.x) {
    T new_mean = running_mean[c], new_var = running_var[c];
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const double weight = momentum >= 0 ? momentum : 1.0 / static_cast<double>(before + lane + 1);
      const int64_t rest = rows - lane * lane_rows;
      const double count = static_cast<double>(rest < lane_rows ? rest : lane_rows);
      const auto average = [weight](T fresh, double factor, T old) {
        return static_cast<T>(weight * (static_cast<double>(fresh) * factor) + (1 - weight) * static_cast<double>(old));
      };
      new_mean = average(mean[lane * channels + c], 1.0, new_mean);
      new_var = average(var[lane * channels + c], count / (count - 1), new_var);
    }
    running_mean[c] = new_mean;
    running_var[c] = new_var;
  }
}

template <class T>
void update(Launch& l, const BatchNormUpdate& o) {
  const int64_t lane_size = o.lanes.size == 0 ? o.lanes.rows : o.lanes.size;
  launch(l.context, "batch_norm_update", update_kernel<T>, 1, 512, l.out[0].data<T>(), l.out[1].data<T>(),
         l.out[2].data<int64_t>(), l.in[3].data<T>(), l.in[4].data<T>(), l.out[0].numel(), o.lanes.rows * o.positions,
         lane_size * o.positions, o.lanes.count(), o.momentum.value_or(-1),
         l.in.size() > 5 ? l.in[5].data<float>() : nullptr);
}

}  // namespace

void batch_norm_update(Launch& l, const BatchNormUpdate& options) {
  l.in[0].dtype() == DType::f32 ? update<float>(l, options) : update<double>(l, options);
}

}  // namespace tern::cuda
