#pragma once
/// Every op: `#include "kernels/ops.h"`.

// --- elementwise
#include "kernels/add/add.h"
#include "kernels/broadcast_to/broadcast_to.h"
#include "kernels/cast/cast.h"
#include "kernels/mul/mul.h"
#include "kernels/neg/neg.h"
#include "kernels/relu/relu.h"
#include "kernels/sub/sub.h"
#include "kernels/sum_to/sum_to.h"

// --- reductions
#include "kernels/mean/mean.h"
#include "kernels/sum/sum.h"

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
