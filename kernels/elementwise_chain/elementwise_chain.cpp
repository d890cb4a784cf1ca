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

/// Elements that go through all steps before the next are read: they stay in the L1 cache.
constexpr int64_t kBlock = 512;

/// What an op is as part of a chain, `in` being its inputs: a chain is its parts; none for an op that cannot be one.
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

/// Whether a tensor of `shape` repeats along one of `whole`: they are equal, or the former is one element or the last
/// axes.
bool repeats(const Shape& shape, const Shape& whole) {
  if (shape.numel() == 1) return true;
  int axes = shape.rank();
  while (shape[-axes] == 1) --axes;
  for (int axis = 1; axis <= axes; ++axis)
    if (axis > whole.rank() || shape[-axis] != whole[-axis]) return false;
  return true;
}

// y = f(a, b) over rows; y is none of the others. f32 formulas that are vectorised by hand go where their ops go.
template <class F>
void map_rows(const F& f, const auto* a, const auto* b, auto* __restrict y, int64_t n) {
  TERN_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = evaluate(f, a[i], b[i]);
}
// clang-format off
void map_rows(formula::Sqrt, const auto* a, const auto*, auto* y, int64_t n) { vector_math::sqrt(a, y, n); }
void map_rows(formula::Rsqrt, const auto* a, const auto*, auto* y, int64_t n) { vector_math::rsqrt(a, y, n); }
void map_rows(formula::Exp, const auto* a, const auto*, auto* y, int64_t n) { vector_math::exp(a, y, n); }
void map_rows(formula::Log, const auto* a, const auto*, auto* y, int64_t n) { vector_math::log(a, y, n); }
void map_rows(formula::Tanh, const auto* a, const auto*, auto* y, int64_t n) { vector_math::tanh(a, y, n); }
void map_rows(formula::Sigmoid, const auto* a, const auto*, auto* y, int64_t n) { vector_math::sigmoid(a, y, n); }
void map_rows(formula::Silu, const auto* a, const auto*, auto* y, int64_t n) { vector_math::silu(a, y, n); }
void map_rows(formula::Gelu, const auto* a, const auto*, auto* y, int64_t n) { vector_math::gelu(a, y, n); }
void map_rows(formula::GeluTanh, const auto* a, const auto*, auto* y, int64_t n) { vector_math::gelu_tanh(a, y, n); }
void map_rows(formula::SiluBackward, const auto* a, const auto* b, auto* y, int64_t n) { vector_math::silu_backward(a, b, y, n); }
void map_rows(formula::GeluBackward, const auto* a, const auto* b, auto* y, int64_t n) { vector_math::gelu_backward(a, b, y, n); }
void map_rows(formula::GeluTanhBackward, const auto* a, const auto* b, auto* y, int64_t n) { vector_math::gelu_tanh_backward(a, b, y, n); }
// clang-format on

/// Elements [at, at + count) of an input that repeats every `period`, in the type that is computed in.
template <class T>
void load_repeated(const T* x, int64_t period, int64_t at, int64_t count, Compute<T>* buffer) {
  if (period == 1) {
    std::fill(buffer, buffer + count, load_element(*x));
    return;
  }
  for (int64_t from = at % period, i = 0; i < count; from = 0) {
    const int64_t end = std::min(count, i + period - from);
    for (; i < end; ++i, ++from) buffer[i] = load_element(x[from]);
  }
}

/// Runs a part of the output, block by block.
template <class T>
class ChainRunner {
 public:
  using C = Compute<T>;
  ChainRunner(const ChainProgram<C>& program, const T* const* in, T* out) : program_(program), in_(in), out_(out) {}

  void run(int64_t begin, int64_t end) {
    for (int s = 0; s < program_.steps; ++s)
      if (program_.step[s].a == ChainStep::kNumber || program_.step[s].b == ChainStep::kNumber)
        std::fill(numbers_[s], numbers_[s] + std::min(kBlock, end - begin), program_.step[s].low);
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      for (int n = 0; n < program_.inputs; ++n) load(n, at, count, at == begin);
      run_steps(at, count);
    }
  }

 private:
  /// Sets inputs_[n] to where the elements lie, or to a copy in the type that is computed in.
  void load(int n, int64_t at, int64_t count, bool first) {
    const int64_t period = program_.period[n];
    inputs_[n] = loaded_[n];
    if (period != program_.count) {
      if (first || kBlock % period != 0)  // else every block has the same elements
        load_repeated(in_[n], period, at, count, loaded_[n]);
    } else if constexpr (kIsHalf<T>) {
      for (int64_t i = 0; i < count; ++i) loaded_[n][i] = load_element(in_[n][at + i]);
    } else {
      inputs_[n] = in_[n] + at;
    }
  }

  void run_steps(int64_t at, int64_t count) {
    const C* previous = nullptr;
    for (int s = 0; s < program_.steps; ++s) {
      const auto& step = program_.step[s];
      const auto operand = [&](int which) -> const C* {
        if (which >= 0) return inputs_[which];
        return which == ChainStep::kPrevious ? previous : numbers_[s];
      };
      const C *a = operand(step.a), *b = operand(step.b);
      C* result = results_[s % 2];
      if constexpr (!kIsHalf<T>)
        if (s + 1 == program_.steps) result = out_ + at;
      visit_formula(step, [&](const auto& f) { map_rows(f, a, b, result, count); });
      if constexpr (kIsHalf<T>)
        for (int64_t i = 0; i < count; ++i) result[i] = load_element(store_element<T>(result[i]));
      previous = result;
    }
    if constexpr (kIsHalf<T>)
      for (int64_t i = 0; i < count; ++i) out_[at + i] = store_element<T>(previous[i]);
  }

  const ChainProgram<C>& program_;
  const T* const* in_;
  T* out_;
  const C* inputs_[kMaxChainInputs] = {};
  C loaded_[kMaxChainInputs][kBlock], results_[2][kBlock], numbers_[kMaxChainSteps][kBlock];
};

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
    for (const int operand : part.in)
      inputs.push_back(operand == ChainStep::kPrevious ? previous : in[static_cast<size_t>(operand)]);
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
    for_chunks(launch.context, program.count,
               [&](int64_t begin, int64_t end) { ChainRunner<T>(program, in, out).run(begin, end); });
  });
}

}  // namespace tern
