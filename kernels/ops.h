#pragma once
/// Every op: `#include "kernels/ops.h"`.

// --- elementwise
#include "kernels/abs/abs.h"
#include "kernels/add/add.h"
#include "kernels/broadcast_to/broadcast_to.h"
#include "kernels/cast/cast.h"
#include "kernels/clamp/clamp.h"
#include "kernels/div/div.h"
#include "kernels/exp/exp.h"
#include "kernels/gelu/gelu.h"
#include "kernels/has_nonfinite/has_nonfinite.h"
#include "kernels/log/log.h"
#include "kernels/maximum/maximum.h"
#include "kernels/minimum/minimum.h"
#include "kernels/mul/mul.h"
#include "kernels/neg/neg.h"
#include "kernels/pow/pow.h"
#include "kernels/relu/relu.h"
#include "kernels/rsqrt/rsqrt.h"
#include "kernels/sigmoid/sigmoid.h"
#include "kernels/silu/silu.h"
#include "kernels/sqrt/sqrt.h"
#include "kernels/sub/sub.h"
#include "kernels/tanh/tanh.h"
#include "kernels/where/where.h"
#include "kernels/operators.h"

// --- reductions
#include "kernels/argmax/argmax.h"
#include "kernels/max/max.h"
#include "kernels/mean/mean.h"
#include "kernels/min/min.h"
#include "kernels/norm/norm.h"
#include "kernels/sum/sum.h"
#include "kernels/sum_to/sum_to.h"
#include "kernels/var/var.h"

// --- shape
#include "kernels/reshape/reshape.h"

// --- matmul
#include "kernels/bias_grad/bias_grad.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_wgrad/linear_wgrad.h"
#include "kernels/matmul/matmul.h"

// --- convolution and pooling
#include "kernels/avg_pool2d/avg_pool2d.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/global_avg_pool/global_avg_pool.h"
#include "kernels/max_pool2d/max_pool2d.h"

// --- normalisation
#include "kernels/batch_norm/batch_norm.h"

// --- loss and dropout

// --- optimizer
