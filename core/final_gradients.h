#pragma once
#include <functional>
#include <span>
#include <vector>

#include "core/tensor.h"

namespace tern {

/// grad(outputs, inputs, seeds) of core/autograd.h that does not keep gradients back: on_final(i, gradient) is called once for each
/// input, for leaves as soon as nothing more can be added to theirs, while those of others are still computed.
std::vector<Tensor> grad_as_final(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> seeds,
                                  std::function<void(size_t input, const Tensor& gradient)> on_final);

}  // namespace tern
