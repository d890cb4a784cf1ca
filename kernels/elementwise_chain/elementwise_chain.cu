#include "kernels/elementwise_chain/elementwise_chain.h"

#include "kernels/common/elementwise.cuh"

namespace tern::cuda {
namespace {

constexpr int kRuns = 2;  // runs of a thread whose loads are under way at once

template <class T>
struct ChainPointers {
  const T* v[kMaxChainInputs];
};

/// W elements of every input, from the one on that belongs to output element `at`.
template <class T, int W>
struct ChainOperands {
  Pack<T, W> v[kMaxChainInputs];

  __device__ void load(const ChainProgram<Compute<T>>& program, const ChainPointers<T>& in, int64_t at) {
#pragma unroll
    for (int n = 0; n < kMaxChainInputs; ++n) {
      if (n >= program.inputs) break;
      const int64_t period = program.period[n];
      if (period == program.count)
        v[n] = load_pack<T, W>(in.v[n] + at);
      else if (period == 1)
        v[n] = load_run<W>(in.v[n], false);
      else if (at >> 32 == 0)  // 64-bit division is slow
        v[n] = load_pack<T, W>(in.v[n] + static_cast<uint32_t>(at) % static_cast<uint32_t>(period));
      else
        v[n] = load_pack<T, W>(in.v[n] + at % period);
    }
  }
};

/// W elements in the type that is computed in.
template <class C, int W>
struct ChainValues {
  C v[W];
};

/// A step of W elements.
template <class C, int W>
struct RunFormula {
  const ChainValues<C, W>&a, &b;
  ChainValues<C, W>& y;
  template <class F>
  __device__ void operator()(const F& f) const {
#pragma unroll
    for (int j = 0; j < W; ++j) y.v[j] = evaluate(f, a.v[j], b.v[j]);
  }
};

template <class T, int W>
__device__ inline ChainValues<Compute<T>, W> operand(int which, const ChainOperands<T, W>& in,
                                                     const ChainValues<Compute<T>, W>& previous, Compute<T> number) {
  if (which == ChainStep::kPrevious) return previous;
  ChainValues<Compute<T>, W> value;
#pragma unroll
  for (int j = 0; j < W; ++j) value.v[j] = number;
#pragma unroll
  for (int n = 0; n < kMaxChainInputs; ++n)  // an index that is not a constant would put the operands into memory
    if (n == which)
#pragma unroll
      for (int j = 0; j < W; ++j) value.v[j] = widen<T>(in.v[n].v[j]);
  return value;
}

/// The chain's steps, which are the same for all threads, on W elements; each result is rounded to T.
template <class T, int W>
__device__ inline Pack<T, W> run_steps(const ChainProgram<Compute<T>>& program, const ChainOperands<T, W>& in) {
  using C = Compute<T>;
  ChainValues<C, W> value{};
  Pack<T, W> out{};
#pragma unroll 1
  for (int s = 0; s < program.steps; ++s) {
    const auto& step = program.step[s];
    const auto a = operand<T, W>(step.a, in, value, step.low);
    const auto b = operand<T, W>(step.b, in, value, step.low);
    visit_formula(step, RunFormula<C, W>{a, b, value});
#pragma unroll
    for (int j = 0; j < W; ++j) {
      out.v[j] = narrow<T>(value.v[j]);
      value.v[j] = widen<T>(out.v[j]);
    }
  }
  return out;
}

/// A thread takes kRuns runs of W elements at a time, a block's width apart, and loads them all before it computes. W > 1
/// wants periods of whole runs, or of one element; the last elements go one by one.
template <class T, int W>
__global__ void __launch_bounds__(kThreads) elementwise_chain_kernel(ChainProgram<Compute<T>> program, ChainPointers<T> in, T* out) {
  const int64_t runs = program.count / W, step = grid_step();
  for (int64_t first = int64_t{blockIdx.x} * blockDim.x * kRuns + threadIdx.x; first < runs; first += step * kRuns) {
    ChainOperands<T, W> operands[kRuns];
#pragma unroll
    for (int r = 0; r < kRuns; ++r)
      if (const int64_t run = first + int64_t{r} * blockDim.x; run < runs) operands[r].load(program, in, run * W);
#pragma unroll
    for (int r = 0; r < kRuns; ++r)
      if (const int64_t run = first + int64_t{r} * blockDim.x; run < runs)
        store_pack(out + run * W, run_steps<T, W>(program, operands[r]));
  }
  if constexpr (W > 1) {
    for (int64_t i = runs * W + first_index(); i < program.count; i += step) {
      ChainOperands<T, 1> operands;
      operands.load(program, in, i);
      store_pack(out + i, run_steps<T, 1>(program, operands));
    }
  }
}

}  // namespace

void elementwise_chain(Launch& launch, const ElementwiseChain& chain) {
  dispatch_floating("elementwise_chain", launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    constexpr int W = kMapWidth<T>;
    const auto program = chain.program<Compute<T>>(launch);
    ChainPointers<T> in{};
    T* out = launch.out[0].data<T>();
    bool packed = aligned16(out);
    for (int n = 0; n < program.inputs; ++n) {
      in.v[n] = launch.in[static_cast<size_t>(n)].data<T>();
      const int64_t period = program.period[n];
      packed = packed && (period == 1 || (aligned16(in.v[n]) && (period % W == 0 || period == program.count)));
    }
    const int64_t runs = ceil_div(program.count, packed ? W : 1);
    tern::cuda::launch(launch.context, "elementwise_chain",
                       packed ? &elementwise_chain_kernel<T, W> : &elementwise_chain_kernel<T, 1>,
                       blocks_for(launch.context, ceil_div(runs, kRuns)), kThreads, program, in, out);
  });
}

}  // namespace tern::cuda
