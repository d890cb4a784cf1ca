#include <span>

#include "core/launch.cuh"

namespace tern::cuda {
namespace {

/// Tensors that one launch takes, so that they fit into a kernel's 4 KiB of arguments.
constexpr int kTensors = 112;
constexpr int64_t kPiece = 4096;  // elements that a block copies
struct Tensors {
  const void* from[kTensors];
  float* to[kTensors];
  int64_t count[kTensors];
  int32_t first_piece[kTensors + 1];
  DType dtype[kTensors];
  int tensors = 0;
};
static_assert(sizeof(Tensors) < 4000);

constexpr int kGroup = 4;

/// Elements begin.. of a tensor: four at a time where both ends are aligned, else one by one. All threads of the block.
template <class T>
__device__ void copy_piece(const T* from, float* to, int64_t begin, int64_t end) {
  const bool packed = sizeof(T) <= 4 && reinterpret_cast<uintptr_t>(from) % (sizeof(T) * kGroup) == 0 &&
                      reinterpret_cast<uintptr_t>(to) % (sizeof(float) * kGroup) == 0;
  int64_t done = begin;
  if (packed) {
    done = begin + (end - begin) / kGroup * kGroup;
#pragma unroll 4
    for (int64_t i = begin + int64_t{threadIdx.x} * kGroup; i < done; i += int64_t{blockDim.x} * kGroup) {
      const Pack<T, kGroup> pack = load_pack<T, kGroup>(from + i);
      Pack<float, kGroup> wide;
#pragma unroll
      for (int j = 0; j < kGroup; ++j) wide.v[j] = static_cast<float>(widen(pack.v[j]));
      store_pack(to + i, wide);
    }
  }
  for (int64_t i = done + threadIdx.x; i < end; i += blockDim.x) to[i] = static_cast<float>(widen(from[i]));
}

/// A block copies one piece of one tensor into the arena.
__global__ void flatten_kernel(Tensors tensors) {
  int low = 0, high = tensors.tensors;  // the tensor whose pieces hold this block
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (tensors.first_piece[middle] <= static_cast<int32_t>(blockIdx.x) ? low : high) = middle;
  }
  const int64_t begin = (int64_t{blockIdx.x} - tensors.first_piece[low]) * kPiece;
  const int64_t end = begin + kPiece < tensors.count[low] ? begin + kPiece : tensors.count[low];
  const void* from = tensors.from[low];
  switch (tensors.dtype[low]) {
    case DType::f32: return copy_piece(static_cast<const float*>(from), tensors.to[low], begin, end);
    case DType::f64: return copy_piece(static_cast<const double*>(from), tensors.to[low], begin, end);
    case DType::f16: return copy_piece(static_cast<const Half*>(from), tensors.to[low], begin, end);
    default: return copy_piece(static_cast<const BFloat16*>(from), tensors.to[low], begin, end);
  }
}

}  // namespace

void flatten_into(Launch& launch, std::span<const int64_t> offsets) {
  float* arena = launch.out[0].data<float>();
  for (size_t first = 0; first < offsets.size(); first += kTensors) {
    Tensors tensors{};
    int64_t pieces = 0;
    for (size_t i = first; i < offsets.size() && tensors.tensors < kTensors; ++i) {
      const Tensor& tensor = launch.in[i + 1];
      const int at = tensors.tensors++;
      tensors.from[at] = tensor.raw();
      tensors.to[at] = arena + offsets[i];
      tensors.count[at] = tensor.numel();
      tensors.dtype[at] = tensor.dtype();
      pieces += ceil_div(tensor.numel(), kPiece);
      tensors.first_piece[at + 1] = static_cast<int32_t>(pieces);
    }
    tern::cuda::launch(launch.context, "flatten_into", flatten_kernel, pieces, kThreads, tensors);
  }
}

}  // namespace tern::cuda
