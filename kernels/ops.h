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

// --- matmul

// --- convolution and pooling

// --- normalisation

// --- loss and dropout

// --- optimizer
