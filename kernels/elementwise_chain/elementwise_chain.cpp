#include "kernels/elementwise_chain/elementwise_chain.h"

#include <algorithm>

#include "core/basic_ops.h"
#include "core/convert.h"
#include "core/fusion.h"
#include "kernels/common/check.h"
#include "kernels/common/loops.h"
#include "kernels/common/parallel.h"
#include "kernels/common/vector_math.h"

namespace tern {
namespace {

constexpr int64_t kBlock = 512;  // elements that go through all steps before the next are read: they stay in the L1 cache

/// An op alone: a chain's parts, or a part of its own; none for ops that cannot be one.
std::vector<ElementwiseChain::Part> parts_of(const std::shared_ptr<const Op>& op, const std::vector<int>& in) {
  std::vector<ElementwiseChain::Part> parts;
  if (const auto* chain = dynamic_cast<const ElementwiseChain*>(op.get())) {
    parts = chain->parts();
  } else {
    std::optional<ChainStep> step;
    if (const auto* member = dynamic_cast<const ChainMember*>(op.get())) step = member->chain_step();
    if (dynamic_cast<const Accumulate*>(op.get())) step = ChainStep::binary(StepCode::add);
    if (!step) return {};
    parts = {{op, {}, *step}};
    for (size_t i = 0; i < in.size(); ++i) parts[0].in.push_back(static_cast<int>(i));
  }
  const auto rename = [&](int& operand) {
    if (operand >= 0) operand = in[static_cast<size_t>(operand)];
  };
  for (auto& part : parts) {
    for (int& operand : part.in) rename(operand);
    rename(part.step.a);
    rename(part.step.b);
  }
  return parts;
}

/// Whether a tensor of `shape` repeats along one of `whole`: they are equal, or the former is one element or the last axes.
bool repeats(const Shape& shape, const Shape& whole) {
  if (shape.numel() == 1) return true;
  int axes = shape.rank();
  while (shape[-axes] == 1) --axes;
  for (int axis = 1; axis <= axes; ++axis)
    if (axis > whole.rank() || shape[-axis] != whole[-axis]) return false;
  return true;
}

// y = f(a, b) over rows; y is none of the others. f32 formulas that are vectorised by hand go where their ops go.
template <class F, class C>
void map_rows(const F& f, const C* a, const C* b, C* __restrict y, int64_t count) {
  TERN_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) y[i] = evaluate(f, a[i], b[i]);
}
template <class C>
void map_rows(formula::Sqrt, const C* a, const C*, C* y, int64_t count) { vector_math::sqrt(a, y, count); }
template <class C>
void map_rows(formula::Rsqrt, const C* a, const C*, C* y, int64_t count) { vector_math::rsqrt(a, y, count); }
template <class C>
void map_rows(formula::Exp, const C* a, const C*, C* y, int64_t count) { vector_math::exp(a, y, count); }
template <class C>
void map_rows(formula::Log, const C* a, const C*, C* y, int64_t count) { vector_math::log(a, y, count); }
template <class C>
void map_rows(formula::Tanh, const C* a, const C*, C* y, int64_t count) { vector_math::tanh(a, y, count); }
template <class C>
void map_rows(formula::Sigmoid, const C* a, const C*, C* y, int64_t count) { vector_math::sigmoid(a, y, count); }
template <class C>
void map_rows(formula::Silu, const C* a, const C*, C* y, int64_t count) { vector_math::silu(a, y, count); }
template <class C>
void map_rows(formula::Gelu, const C* a, const C*, C* y, int64_t count) { vector_math::gelu(a, y, count); }
template <class C>
void map_rows(formula::GeluTanh, const C* a, const C*, C* y, int64_t count) { vector_math::gelu_tanh(a, y, count); }
template <class C>
void map_rows(formula::SiluBackward, const C* a, const C* b, C* y, int64_t count) { vector_math::silu_backward(a, b, y, count); }
template <class C>
void map_rows(formula::GeluBackward, const C* a, const C* b, C* y, int64_t count) { vector_math::gelu_backward(a, b, y, count); }
template <class C>
void map_rows(formula::GeluTanhBackward, const C* a, const C* b, C* y, int64_t count) { vector_math::gelu_tanh_backward(a, b, y, count); }

/// Elements [at, at + count) of an input in the type that is computed in: where they lie, or in `buffer`.
template <class T>
const Compute<T>* load_block(const T* x, int64_t period, bool whole, int64_t at, int64_t count, Compute<T>* buffer) {
  if (whole) {
    if constexpr (!kIsHalf<T>) return x + at;
    for (int64_t i = 0; i < count; ++i) buffer[i] = load_element(x[at + i]);
    return buffer;
  }
  int64_t from = at % period;
  for (int64_t i = 0; i < count; ++i) {
    buffer[i] = load_element(x[from]);
    if (++from == period) from = 0;
  }
  return buffer;
}

/// One block of at most kBlock elements through all steps.
template <class T>
void run_block(const ChainProgram<Compute<T>>& program, const T* const* in, T* out, int64_t at, int64_t count) {
  using C = Compute<T>;
  C loaded[kMaxChainInputs][kBlock], results[2][kBlock], number[kBlock];
  const C* inputs[kMaxChainInputs] = {};
  for (int n = 0; n < program.inputs; ++n)
    inputs[n] = load_block(in[n], program.period[n], program.period[n] == program.count, at, count, loaded[n]);
  const C* previous = nullptr;
  for (int s = 0; s < program.steps; ++s) {
    const auto& step = program.step[s];
    const auto operand = [&](int which) -> const C* {
      if (which >= 0) return inputs[which];
      if (which == ChainStep::kPrevious) return previous;
      std::fill(number, number + count, step.low);
      return number;
    };
    const C *a = operand(step.a), *b = operand(step.b);
    C* result = results[s % 2];
    if constexpr (!kIsHalf<T>)
      if (s + 1 == program.steps) result = out + at;
    visit_formula(step, [&](const auto& f) { map_rows(f, a, b, result, count); });
    if constexpr (kIsHalf<T>)
      for (int64_t i = 0; i < count; ++i) result[i] = load_element(store_element<T>(result[i]));
    previous = result;
  }
  if constexpr (kIsHalf<T>)
    for (int64_t i = 0; i < count; ++i) out[at + i] = store_element<T>(previous[i]);
}

}  // namespace

std::shared_ptr<const Op> fuse_elementwise(const FusionPair& pair) {
  static_assert(FusionPair::kFirst == ChainStep::kPrevious);
  auto parts = parts_of(pair.first, pair.first_in);
  const auto last = parts_of(pair.second, pair.second_in);
  if (parts.empty() || last.size() != 1) return nullptr;
  parts.insert(parts.end(), last.begin(), last.end());
  if (parts.size() > kMaxChainSteps || pair.inputs.size() > kMaxChainInputs) return nullptr;
  if (pair.between != pair.out || !is_floating(pair.out.dtype)) return nullptr;
  for (const Spec& input : pair.inputs)
    if (input.dtype != pair.out.dtype || !repeats(input.shape, pair.out.shape)) return nullptr;
  return std::make_shared<ElementwiseChain>(std::move(parts));
}

std::vector<Spec> ElementwiseChain::infer(std::span<const Spec> in) const {
  require_elements(name(), in);
  require_same_floating(name(), in);
  Spec out = in[0];
  for (const Spec& input : in) out.shape = broadcast(out.shape, input.shape, "elementwise_chain");
  return {out};
}

std::vector<Tensor> ElementwiseChain::decompose(std::span<const Tensor> in) const {
  Tensor previous;
  for (const Part& part : parts_) {
    std::vector<Tensor> inputs;
    for (const int operand : part.in) inputs.push_back(operand == ChainStep::kPrevious ? previous : in[static_cast<size_t>(operand)]);
    previous = tern::apply(part.op, inputs)[0];
  }
  return {previous};
}

void ElementwiseChain::run_cpu(Launch& launch) const {
  dispatch_floating(name(), launch.out[0].dtype(), [&](auto t) {
    using T = decltype(t);
    const auto program = this->program<Compute<T>>(launch);
    const T* in[kMaxChainInputs] = {};
    for (size_t n = 0; n < launch.in.size(); ++n) in[n] = launch.in[n].data<T>();
    T* out = launch.out[0].data<T>();
    for_chunks(launch.context, program.count, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += kBlock) run_block(program, in, out, at, std::min(kBlock, end - at));
    });
  });
}

}  // namespace tern
