#include "kernels/conv2d/conv2d_f32.h"

#include <algorithm>

#include "kernels/common/scratch.h"
#include "kernels/conv2d/correlate_f32.h"

namespace tern {
namespace {

int64_t padded(int64_t channels) {
  return (channels + kMaxCorrelateBlock - 1) / kMaxCorrelateBlock * kMaxCorrelateBlock;
}

Correlation forward_job(const ConvShape& s) {
  const Conv2d& o = s.options;
  Correlation job{.images = s.n, .source_h = s.h, .source_w = s.w, .result_h = s.p, .result_w = s.q};
  job.groups = o.groups;
  job.group_in = s.group_c();
  job.group_out = s.group_k();
  job.rows = forward_walk(s.p, s.r, o.stride.h, o.padding.h, o.dilation.h);
  job.cols = forward_walk(s.q, s.s, o.stride.w, o.padding.w, o.dilation.w);
  return job;
}

/// The elements of dx whose row and column have the given phases of the stride.
Correlation backward_job(const ConvShape& s, int64_t phase_h, int64_t phase_w) {
  const Conv2d& o = s.options;
  Correlation job{.images = s.n, .source_h = s.p, .source_w = s.q, .result_h = s.h, .result_w = s.w};
  job.groups = o.groups;
  job.group_in = s.group_k();
  job.group_out = s.group_c();
  job.rows = backward_walk(s.h, s.r, o.stride.h, o.padding.h, o.dilation.h, phase_h);
  job.cols = backward_walk(s.w, s.s, o.stride.w, o.padding.w, o.dilation.w, phase_w);
  return job;
}

template <class Body>
void for_phases(const ConvShape& s, const Body& body) {
  for (int64_t h = 0; h < s.options.stride.h; ++h)
    for (int64_t w = 0; w < s.options.stride.w; ++w) body(backward_job(s, h, w));
}

/// Steps through w [K,R,S,C/groups]: to the next group, filter row and column, channel of the result and the source.
struct FilterSteps {
  int64_t group, row, col, out, in;
};
FilterSteps forward_steps(const ConvShape& s) {
  const int64_t c = s.group_c(), filter = s.r * s.s * c;
  return {.group = s.group_k() * filter, .row = s.s * c, .col = c, .out = filter, .in = 1};
}
FilterSteps backward_steps(const ConvShape& s) {
  const int64_t c = s.group_c(), filter = s.r * s.s * c;
  return {.group = s.group_k() * filter, .row = s.s * c, .col = c, .out = 1, .in = filter};
}

/// Fills job.weights from the filters: blocks of result channels innermost, taps in the order of the walk.
void pack_weights(const Correlation& job, const float* w, const FilterSteps& at, float* packed, ThreadPool& pool) {
  const int64_t width = correlate_block();
  const int64_t blocks = (job.group_out + width - 1) / width;
  pool.parallel_for(job.groups * blocks, [&](int64_t b) {
    const int64_t first = b % blocks * width, valid = std::min(width, job.group_out - first);
    float* to = packed + b * job.rows.taps * job.cols.taps * job.group_in * width;
    for (int64_t t = 0; t < job.rows.taps; ++t) {
      for (int64_t u = 0; u < job.cols.taps; ++u) {
        const float* from = w + b / blocks * at.group + first * at.out +
                            (job.rows.filter + t * job.rows.filter_step) * at.row +
                            (job.cols.filter + u * job.cols.filter_step) * at.col;
        for (int64_t i = 0; i < job.group_in; ++i, to += width) {
          for (int64_t o = 0; o < valid; ++o) to[o] = from[o * at.out + i * at.in];
          std::fill(to + valid, to + width, 0.0f);
        }
      }
    }
  });
}

/// Fills job.start: the bias, or zeros where there is none.
void pack_start(const Correlation& job, const float* bias, float* start) {
  const int64_t width = correlate_block();
  const int64_t blocks = (job.group_out + width - 1) / width;
  std::fill_n(start, job.groups * blocks * width, 0.0f);
  if (bias == nullptr) return;
  for (int64_t g = 0; g < job.groups; ++g)
    std::copy_n(bias + g * job.group_out, job.group_out, start + g * blocks * width);
}

/// What both passes take from the workspace.
struct Buffers {
  static ScratchSize size(const Correlation& job, const ConvShape& s, int64_t windows) {
    return ScratchSize()
        .add<float>(s.r * s.s * job.groups * job.group_in * padded(job.group_out))
        .add<float>(job.groups * padded(job.group_out))
        .add<float>(windows);
  }
  Buffers(const Correlation& job, const ConvShape& s, std::byte* scratch) {
    weights = reinterpret_cast<float*>(scratch);
    scratch += scratch_bytes<float>(s.r * s.s * job.groups * job.group_in * padded(job.group_out));
    start = reinterpret_cast<float*>(scratch);
    windows = reinterpret_cast<float*>(scratch + scratch_bytes<float>(job.groups * padded(job.group_out)));
  }
  float *weights, *start, *windows;
};

}  // namespace

size_t conv2d_f32_workspace(const ConvShape& shape, int threads) {
  const Correlation job = forward_job(shape);
  return Buffers::size(job, shape, correlate_workspace(job, threads)).bytes();
}

void conv2d_f32(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y, std::byte* scratch,
                ThreadPool& pool) {
  Correlation job = forward_job(shape);
  const Buffers buffers(job, shape, scratch);
  pack_weights(job, w, forward_steps(shape), buffers.weights, pool);
  pack_start(job, bias, buffers.start);
  job.source = x;
  job.result = y;
  job.weights = buffers.weights;
  job.start = buffers.start;
  correlate_f32(job, buffers.windows, pool);
}

size_t conv2d_dgrad_f32_workspace(const ConvShape& shape, int threads) {
  int64_t windows = 0;
  for_phases(shape, [&](const Correlation& job) { windows = std::max(windows, correlate_workspace(job, threads)); });
  return Buffers::size(backward_job(shape, 0, 0), shape, windows).bytes();
}

void conv2d_dgrad_f32(const ConvShape& shape, const float* dy, const float* w, float* dx, std::byte* scratch,
                      ThreadPool& pool) {
  for_phases(shape, [&](Correlation job) {
    const Buffers buffers(job, shape, scratch);
    pack_weights(job, w, backward_steps(shape), buffers.weights, pool);
    pack_start(job, nullptr, buffers.start);
    job.source = dy;
    job.result = dx;
    job.weights = buffers.weights;
    job.start = buffers.start;
    correlate_f32(job, buffers.windows, pool);
  });
}

}  // namespace tern
