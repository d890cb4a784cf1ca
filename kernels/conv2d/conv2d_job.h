#pragma once
#include <string>
#include <string_view>

#include "core/dtype.h"
#include "kernels/conv2d/geometry.h"

namespace tern {

enum class ConvPass { forward, dgrad, wgrad };

/// One convolution, as a GPU's plan is chosen for it.
struct ConvJob {
  ConvPass pass = ConvPass::forward;
  DType dtype = DType::f32;  ///< of every operand; sums are kept in f32 (f64 for f64)
  ConvShape shape;
  bool bias = false;         ///< forward only

  std::string_view op() const {  ///< the op's name
    return pass == ConvPass::forward ? "conv2d" : pass == ConvPass::dgrad ? "conv2d_dgrad" : "conv2d_wgrad";
  }
  /// Everything that a plan depends on, in one line: "conv2d f16 x 128,32,32,64 w 64,3,3,64 stride 1,1 padding 1,1
  /// dilation 1,1 groups 1 bias 0 tf32 0".
  std::string key(bool tf32) const;
};

}  // namespace tern
