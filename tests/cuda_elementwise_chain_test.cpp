// Fused elementwise chains on a GPU: against the same ops one by one, in each kernel that shapes and addresses lead to.
#include "tests/cuda_util.h"
#include "tests/random_chain.h"

namespace tern::testing {

TEST_CASE("cuda: fused elementwise chains agree with their ops", "[cuda][fusion]") {
  if (const std::string reason = test::no_gpu(); !reason.empty()) SKIP(reason);
#if TERN_CUDA_EMULATED
  constexpr double kTolerance = 0;
#else
  // The compiler may join a product and a sum of a formula in one kernel and not in the other; a 16-bit result can then
  // fall to its neighbour, and the steps after it make more of the difference.
  constexpr double kTolerance = 5e-2;
#endif
  check_random_chains(test::on_gpu(), kTolerance, 60);
}

TEST_CASE("cuda: a residual sum and its ReLU, and a gradient and its mask, are exact when merged", "[cuda][fusion]") {
  if (const std::string reason = test::no_gpu(); !reason.empty()) SKIP(reason);
  Context context(test::on_gpu());
  NoGrad guard(context);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    for (const Shape& shape : {Shape{3, 17}, Shape{4, 8, 8, 64}, Shape{33, 1001}}) {
      INFO(name_of(dtype) << shape.str());
      const auto function = [](std::span<const Tensor> in) {
        const Tensor y = relu(add(in[0], in[1]));
        return std::vector{y, relu_backward(add(in[0], in[2]), y)};
      };
      CompiledStep step = compile(context, function);
      const Tensors in = make_inputs(context, {{.shape = shape}, {.shape = shape}, {.shape = shape}}, dtype, 4);
      step(in);
      const Tensors replayed = step(in), wanted = function(in);
      for (size_t i = 0; i < 2; ++i) CHECK(relative_difference(replayed[i], wanted[i]) == 0);
      CHECK(step.stats()[0].fused == 2);
    }
}

}  // namespace tern::testing
