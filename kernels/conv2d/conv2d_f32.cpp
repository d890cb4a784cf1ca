#include "kernels/conv2d/conv2d_f32.h"

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/common/scratch.h"
#include "kernels/conv2d/correlate_f32.h"
#include "kernels/conv2d/narrow_f32.h"
#include "kernels/conv2d/scatter_f32.h"
#include "kernels/conv2d/winograd_f32.h"

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

FilterSteps forward_steps(const ConvShape& s) {
  const int64_t c = s.group_c(), filter = s.r * s.s * c;
  return {.group = s.group_k() * filter, .row = s.s * c, .col = c, .out = filter, .in = 1};
}
FilterSteps backward_steps(const ConvShape& s) {
  const int64_t c = s.group_c(), filter = s.r * s.s * c;
  return {.group = s.group_k() * filter, .row = s.s * c, .col = c, .out = 1, .in = filter};
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

int64_t weight_floats(const Correlation& job, const ConvShape& s) {
  return s.r * s.s * job.groups * job.group_in * padded(job.group_out);
}
int64_t start_floats(const Correlation& job) { return job.groups * padded(job.group_out); }

bool scatters(const ConvShape& s) { return !winograd_fits(s) && scatter_fits(s); }

size_t workspace_bytes(const Correlation& job, const ConvShape& s, int threads) {
  if (winograd_fits(s)) return winograd_f32_workspace(job, threads);
  if (narrow_fits(job)) return narrow_f32_workspace(job, threads);
  return scratch_bytes<float>(weight_floats(job, s)) + scratch_bytes<float>(start_floats(job));
}

void run(Correlation job, const ConvShape& shape, const FilterSteps& steps, const float* source, const float* w,
         const float* bias, float* result, std::span<std::byte> memory, ThreadPool& all_threads) {
  ThreadPool& pool = pool_for(all_threads, conv_flops(shape));
  job.source = source;
  job.result = result;
  if (winograd_fits(shape)) return winograd_f32(job, w, steps, bias, memory, pool);
  if (narrow_fits(job)) return narrow_f32(job, w, steps, bias, memory, pool);
  Scratch scratch(memory);
  float* weights = scratch.take<float>(weight_floats(job, shape));
  float* start = scratch.take<float>(start_floats(job));
  const int64_t width = correlate_block();
  pack_filters(job, w, steps, width, job.rows.taps * job.cols.taps * job.group_in * width, weights, pool);
  pack_start(job, bias, start);
  job.weights = weights;
  job.start = start;
  correlate_f32(job, pool);
}

}  // namespace

void pack_filters(const Correlation& job, const float* w, const FilterSteps& at, int64_t width, int64_t block_floats, float* packed,
                  ThreadPool& pool) {
  const int64_t blocks = (job.group_out + width - 1) / width;
  pool.parallel_for(job.groups * blocks, [&](int64_t b) {
    const int64_t first = b % blocks * width, valid = std::min(width, job.group_out - first);
    float* to = packed + b * block_floats;
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

size_t conv2d_f32_workspace(const ConvShape& shape, int threads) { return workspace_bytes(forward_job(shape), shape, threads); }

void conv2d_f32(const ConvShape& shape, const float* x, const float* w, const float* bias, float* y,
                std::span<std::byte> scratch, ThreadPool& pool) {
  run(forward_job(shape), shape, forward_steps(shape), x, w, bias, y, scratch, pool);
}

size_t conv2d_dgrad_f32_workspace(const ConvShape& shape, int threads) {
  if (scatters(shape)) return scatter_dgrad_f32_workspace(shape, threads);
  return workspace_bytes(backward_job(shape, 0, 0), shape, threads);
}

void conv2d_dgrad_f32(const ConvShape& shape, const float* dy, const float* w, float* dx, std::span<std::byte> scratch,
                      ThreadPool& pool) {
  if (scatters(shape)) return scatter_dgrad_f32(shape, dy, w, dx, scratch, pool_for(pool, conv_flops(shape)));
  for (int64_t h = 0; h < shape.options.stride.h; ++h)
    for (int64_t v = 0; v < shape.options.stride.w; ++v)
      run(backward_job(shape, h, v), shape, backward_steps(shape), dy, w, nullptr, dx, scratch, pool);
}

}  // namespace tern
