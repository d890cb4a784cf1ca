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
#include "kernels/concat/concat.h"
#include "kernels/flip/flip.h"
#include "kernels/gather/gather.h"
#include "kernels/pad/pad.h"
#include "kernels/permute/permute.h"
#include "kernels/reshape/reshape.h"
#include "kernels/slice/slice.h"

// --- matmul
#include "kernels/bias_grad/bias_grad.h"
#include "kernels/linear/linear.h"
#include "kernels/linear_wgrad/linear_wgrad.h"
#include "kernels/matmul/matmul.h"

// --- convolution and pooling
#include "kernels/augment_images/augment_images.h"
#include "kernels/avg_pool2d/avg_pool2d.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/global_avg_pool/global_avg_pool.h"
#include "kernels/max_pool2d/max_pool2d.h"

// --- normalisation
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/normalize_images/normalize_images.h"

// --- loss and dropout
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dropout/dropout.h"
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/softmax/softmax.h"
#include "kernels/top_k_correct/top_k_correct.h"

// --- optimizer
#include "kernels/adamw/adamw.h"
#include "kernels/clip_coefficient/clip_coefficient.h"
#include "kernels/ema/ema.h"
#include "kernels/flatten_into/flatten_into.h"
#include "kernels/global_norm/global_norm.h"
#include "kernels/loss_scale/loss_scale.h"
#include "kernels/sgd/sgd.h"
