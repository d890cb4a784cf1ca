#pragma once
#include "core/tensor.h"

namespace tern {

/// y = the rows of x along `axis` that `indices` name, as torch.index_select.
///   x [..,A,..]  indices i64 [M]  ->  y [..,M,..], dtype of x (any)
/// The gradient adds rows up in the order of `indices`. Throws DataError naming the position of an index outside
/// 0..A-1 (on a GPU, where the host does not read them: DeviceError at the next wait), DTypeError unless indices are i64.
Tensor gather(const Tensor& x, const Tensor& indices, int axis = 0);

/// The adjoint: a tensor of `extent` rows along `axis`, all zeros, to which dy's rows are added where `indices` say, in
/// their order.
///   dy [..,M,..]  indices i64 [M]  ->  [..,extent,..]; floating dtypes; sums in f32 (f64 for f64)
Tensor scatter_add(const Tensor& dy, const Tensor& indices, int64_t extent, int axis = 0);

}  // namespace tern
