// Tensors, memory, the tape and recorded plans. Ops have their own table, op_cases.h.
#include <cmath>
#include <cstring>
#include <thread>

#include "core/autograd.h"
#include "core/basic_ops.h"
#include "core/device_runtime.h"
#include "core/error.h"
#include "core/final_gradients.h"
#include "core/lanes.h"
#include "core/memory_plan.h"
#include "core/parameter_store.h"
#include "core/plan.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "tests/catch.h"

namespace tern {
namespace {

Tensor vector_of(Context& context, std::vector<float> values) {
  const auto n = static_cast<int64_t>(values.size());
  return Tensor::from<float>(context, {n}, values);
}

}  // namespace

TEST_CASE("philox: known answers of the reference implementation", "[core]") {
  // Random123's kat_vectors for philox4x32-10.
  const Random4 zero = philox4x32({{0, 0, 0, 0}}, 0, 0);
  CHECK(zero.v[0] == 0x6627e8d5u);
  CHECK(zero.v[1] == 0xe169c58du);
  CHECK(zero.v[2] == 0xbc57ac4cu);
  CHECK(zero.v[3] == 0x9b00dbd8u);
  const Random4 pi = philox4x32({{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}}, 0xa4093822u, 0x299f31d0u);
  CHECK(pi.v[0] == 0xd16cfe09u);
  CHECK(pi.v[1] == 0x94fdccebu);
  CHECK(pi.v[2] == 0x5001e420u);
  CHECK(pi.v[3] == 0x24126ea1u);
}

TEST_CASE("philox: every coordinate of a key matters", "[core]") {
  const RngKey key{1, 2, 3, 4};
  auto word = [](RngKey k, uint32_t block = 0) { return random4(k, block).v[0]; };
  const uint32_t base = word(key);
  CHECK(word({9, 2, 3, 4}) != base);
  CHECK(word({1 | (uint64_t{1} << 32), 2, 3, 4}) != base);
  CHECK(word({1, 9, 3, 4}) != base);
  CHECK(word({1, 2 | (uint64_t{1} << 32), 3, 4}) != base);
  CHECK(word({1, 2, 9, 4}) != base);
  CHECK(word({1, 2, 3 | (uint64_t{1} << 32), 4}) != base);
  CHECK(word({1, 2, 3, 9}) != base);
  CHECK(word(key, 1) != base);
}

TEST_CASE("lanes: the tree splits at the largest power of two below n", "[core]") {
  CHECK(tree_split(2) == 1);
  CHECK(tree_split(3) == 2);
  CHECK(tree_split(4) == 2);
  CHECK(tree_split(5) == 4);
  CHECK(tree_split(8) == 4);
  CHECK(tree_split(9) == 8);
  // ((a0 + a1) + (a2 + a3)) + a4, told apart from other orders by rounding.
  std::vector<float> leaves = {1e8f, 1.0f, -1e8f, 3.0f, 0.5f};
  const float want = ((leaves[0] + leaves[1]) + (leaves[2] + leaves[3])) + leaves[4];
  tree_sum(leaves.data(), 5, 1, 1);
  CHECK(leaves[0] == want);
  const Lanes lanes{80, 32};
  CHECK(lanes.count() == 3);
  CHECK(lanes.end(2) == 80);
  CHECK(Lanes{80, 0}.count() == 1);
}

TEST_CASE("allocator: caches blocks and counts by tag", "[core]") {
  const auto runtime = make_runtime({});
  Allocator allocator(*runtime, {});
  void* a = allocator.allocate(1000, "activations");
  CHECK(reinterpret_cast<uintptr_t>(a) % Allocator::kAlignment == 0);
  CHECK(allocator.stats().by_tag.at("activations").current >= 1000);
  allocator.free(a);
  void* b = allocator.allocate(1000, "gradients");
  CHECK(b == a);
  auto stats = allocator.stats();
  CHECK(stats.system_allocations == 1);
  CHECK(stats.allocations == 2);
  CHECK(stats.by_tag.at("activations").current == 0);
  CHECK(stats.by_tag.at("activations").peak >= 1000);
  allocator.free(b);
  allocator.trim();
  CHECK(allocator.stats().reserved == 0);
}

TEST_CASE("allocator: out of memory lists what holds it, and cached blocks make room first", "[core]") {
  const auto runtime = make_runtime({});
  Allocator allocator(*runtime, {});
  allocator.set_limit(4 << 20);
  void* held = allocator.allocate(2 << 20, "weights");
  void* cached = allocator.allocate(1 << 20, "scratch");
  allocator.free(cached);
  CHECK_THROWS_WITH(allocator.allocate(3 << 20, "batch"), HasText("batch") && HasText("weights: 2.0 MiB"));
  void* fits = allocator.allocate(2 << 20, "batch");  // gives up the cached megabyte
  allocator.free(fits);
  allocator.free(held);
  CHECK_THROWS_AS(allocator.allocate(size_t{1} << 63), OutOfMemory);
}

TEST_CASE("memory plan: buffers alive together never overlap, and reuse saves memory", "[core][plan]") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::vector<Lifetime> lifetimes;
    for (uint32_t i = 0; i < 40; ++i) {
      const Random4 r = random4({seed, 0, i, 1});
      const int first = static_cast<int>(r.v[0] % 30);
      lifetimes.push_back({r.v[1] % 5000, first, first + static_cast<int>(r.v[2] % 8)});
    }
    const MemoryLayout layout = plan_memory(lifetimes);
    size_t total = 0;
    for (size_t i = 0; i < lifetimes.size(); ++i) {
      REQUIRE(layout.offsets[i] % Allocator::kAlignment == 0);
      REQUIRE(layout.offsets[i] + lifetimes[i].bytes <= layout.bytes);
      total += lifetimes[i].bytes;
      for (size_t j = 0; j < i; ++j) {
        const bool together = lifetimes[i].first <= lifetimes[j].last && lifetimes[j].first <= lifetimes[i].last;
        const bool overlap = layout.offsets[i] < layout.offsets[j] + lifetimes[j].bytes &&
                             layout.offsets[j] < layout.offsets[i] + lifetimes[i].bytes;
        REQUIRE_FALSE((together && overlap));
      }
    }
    CHECK(layout.bytes < total);
    CHECK(plan_memory(lifetimes, false).bytes >= total);
  }
}

TEST_CASE("tensor: reads are checked", "[core]") {
  Context context;
  const Tensor t = vector_of(context, {1, 2, 3});
  CHECK(t.to_vector<float>() == std::vector<float>{1, 2, 3});
  CHECK_THROWS_WITH(t.data<double>(), HasText("is f32, read as f64"));
  CHECK_THROWS_WITH(t.item(), HasText("[item] wants one element, got f32[3]"));
  CHECK_THROWS_AS(Tensor::from<float>(context, {4}, std::vector<float>{1, 2}), ShapeError);
  CHECK(Tensor::full(context, {2}, 3.5, DType::bf16).dtype() == DType::bf16);
  CHECK(Tensor::full(context, {}, 7, DType::i64).item() == 7);
  CHECK(Tensor::arange(context, 3).to_vector<int64_t>() == std::vector<int64_t>{0, 1, 2});
}

TEST_CASE("apply: says which input is wrong", "[core]") {
  Context context, other;
  const Tensor a = vector_of(context, {1});
  CHECK_THROWS_WITH(add(a, Tensor{}), HasText("[add] input 1 is undefined"));
  CHECK_THROWS_WITH(add(a, vector_of(other, {1})), HasText("[add] input 1 belongs to another context"));
}

TEST_CASE("tape: a diamond sums both ways, and leaves collect over backwards", "[core]") {
  Context context;
  Tensor x = vector_of(context, {2, 3}).set_requires_grad();
  const Tensor y = sum(add(mul(x, x), x));
  y.backward();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{5, 7});
  sum(x).backward();
  CHECK(x.grad().to_vector<float>() == std::vector<float>{6, 8});
}

TEST_CASE("tape: gradients are told of once, when nothing more can be added to them", "[core]") {
  Context context;
  Tensor first = vector_of(context, {2, 3}).set_requires_grad(), last = vector_of(context, {5, 7}).set_requires_grad();
  Tensor twice = vector_of(context, {1, 2}).set_requires_grad(), unused = vector_of(context, {1, 1}).set_requires_grad();
  const Tensor y = sum(mul(mul(mul(mul(first, twice), first), twice), last));
  const std::vector<Tensor> inputs{first, twice, last, unused};
  std::vector<size_t> order;
  std::vector<std::vector<float>> told(inputs.size());
  const auto all = grad_as_final(std::vector{y}, inputs, {}, [&](size_t input, const Tensor& gradient) {
    order.push_back(input);
    told[input] = gradient.to_vector<float>();
  });
  CHECK(order == std::vector<size_t>{2, 0, 1, 3});  // both uses of `first` come in front of the second one of `twice`
  for (size_t i = 0; i < inputs.size(); ++i) CHECK(all[i].to_vector<float>() == told[i]);
  CHECK(told[0] == std::vector<float>{20, 168});
}

TEST_CASE("tape: what it refuses", "[core]") {
  Context context;
  Tensor x = vector_of(context, {2, 3}).set_requires_grad();
  SECTION("a second backward through a freed tape") {
    const Tensor y = sum(mul(x, x));
    y.backward();
    CHECK_THROWS_WITH(y.backward(), HasText("[mul] second backward"));
  }
  SECTION("a saved tensor overwritten in place") {
    const Tensor w = vector_of(context, {1, 1});
    const Tensor y = sum(mul(x, w));
    w.copy_from(vector_of(context, {5, 5}));
    CHECK_THROWS_WITH(y.backward(), HasText("overwritten in place"));
  }
  SECTION("a leaf overwritten on the tape") {
    CHECK_THROWS_WITH(apply_one(std::make_shared<CopyInto>(), {x, x.detach()}), HasText("[copy_into] overwrites a tensor that requires a gradient"));
  }
  SECTION("no gradient wanted, wrong seeds, integers") {
    CHECK_THROWS_AS(sum(vector_of(context, {1})).backward(), AutogradError);
    CHECK_THROWS_WITH(mul(x, x).backward(), HasText("more than one element"));
    CHECK_THROWS_AS(mul(x, x).backward(vector_of(context, {1})), ShapeError);
    CHECK_THROWS_AS(Tensor::zeros(context, {1}, DType::i64).set_requires_grad(), DTypeError);
    Tensor made = mul(x, x);
    CHECK_THROWS_AS(made.set_requires_grad(), AutogradError);
  }
}

TEST_CASE("tape: no_grad, detach and gradients of intermediate results", "[core]") {
  Context context;
  Tensor x = vector_of(context, {2, 3}).set_requires_grad();
  {
    NoGrad guard(context);
    CHECK_FALSE(mul(x, x).requires_grad());
  }
  CHECK_FALSE(x.detach().requires_grad());
  const Tensor h = mul(x, x);
  const Tensor y = sum(mul(h, h));
  const std::vector<Tensor> wanted{h, x};
  const auto g = grad(std::vector<Tensor>{y}, wanted);
  CHECK(g[0].to_vector<float>() == std::vector<float>{8, 18});
  CHECK(g[1].to_vector<float>() == std::vector<float>{32, 108});
  Tensor unused = vector_of(context, {1}).set_requires_grad();
  CHECK(grad(std::vector<Tensor>{sum(x)}, std::vector<Tensor>{unused})[0].to_vector<float>() == std::vector<float>{0});
}

TEST_CASE("tape: a gradient of a gradient of a gradient", "[core]") {
  Context context;
  Tensor x = Tensor::from<double>(context, {1}, std::vector<double>{1.5}).set_requires_grad();
  Tensor y = mul(mul(x, x), mul(x, x));  // x^4
  for (double factor : {4 * std::pow(1.5, 3), 12 * std::pow(1.5, 2), 24 * 1.5}) {
    y = grad(std::vector<Tensor>{y}, std::vector<Tensor>{x}, {}, {.create_graph = true})[0];
    CHECK(y.item() == Approx(factor));
  }
}

TEST_CASE("tape: a chain of 200,000 ops is freed without a deep stack", "[core]") {
  Context context({.threads = 1});
  Tensor x = vector_of(context, {1}).set_requires_grad();
  Tensor y = x;
  for (int i = 0; i < 200000; ++i) y = add(y, x);
  CHECK(y.item() == 200001);
}

TEST_CASE("plan: memory is reused, results are not frozen, the arena is shared", "[core][plan]") {
  Context context;
  const Tensor w = vector_of(context, {1, 2, 3, 4});
  auto arena = std::make_shared<Arena>(context);
  const CompiledStep::Function chain = [&](std::span<const Tensor> in) {
    Tensor h = in[0];
    for (int i = 0; i < 10; ++i) h = add(mul(h, w), in[0]);
    return std::vector<Tensor>{h};
  };
  const bool reuse = GENERATE(true, false);
  CompiledStep step = compile(context, chain, {.reuse_memory = reuse, .arena = arena});
  for (float value : {1.0f, 0.5f, -2.0f}) {
    const Tensor x = Tensor::full(context, {4}, value);
    CHECK(step({x})[0].to_vector<float>() == chain(std::vector<Tensor>{x})[0].to_vector<float>());
    w.copy_from(vector_of(context, {value, 1, 2, 3}));  // captured tensors are read when the plan runs
  }
  REQUIRE(step.stats().size() == 1);
  CHECK(step.stats()[0].instructions + step.stats()[0].fused == 20);
  CHECK((step.stats()[0].arena_bytes < step.stats()[0].unplanned_bytes) == reuse);
  CHECK(arena->bytes() == step.stats()[0].arena_bytes);
}

TEST_CASE("plan: what is recorded and the arena are not in memory together", "[core][plan]") {
  Context context;
  auto arena = std::make_shared<Arena>(context);
  constexpr int64_t kLarge = 1 << 20, kBytes = kLarge * 4;
  const auto step = [&](double factor) {
    return compile(
        context,
        [factor](std::span<const Tensor> in) {
          const Tensor wide = mul(Tensor::full(in[0].context(), {kLarge}, 1), in[0]);
          return std::vector<Tensor>{sum(mul(wide, factor))};
        },
        {.arena = arena});
  };
  CompiledStep first = step(2), second = step(3), third = step(4);
  const Tensor x = vector_of(context, {5});
  for (int i = 0; i < 2; ++i) CHECK(first({x})[0].item() == 10 * kLarge);
  REQUIRE(arena->bytes() >= kBytes);
  const size_t alone = context.allocator().stats().total.current - arena->bytes();
  first.reset();  // as when a parameter is frozen
  CHECK(context.allocator().stats().total.current <= alone);
  context.allocator().reset_peak();
  CHECK(second({x})[0].item() == 15 * kLarge);
  CHECK(context.allocator().stats().total.peak - alone <= 3 * kBytes + 4096);  // the recording's, three tensors; not the arena's beside them
  for (int i = 0; i < 2; ++i) {
    CHECK(first({x})[0].item() == 10 * kLarge);
    CHECK(second({x})[0].item() == 15 * kLarge);
  }
  for (int i = 0; i < 2; ++i) CHECK(third({x})[0].item() == 20 * kLarge);  // recorded while others are bound
  first.reset();
  CHECK(second({vector_of(context, {6})})[0].item() == 18 * kLarge);
}

TEST_CASE("plan: another shape is another plan", "[core][plan]") {
  Context context;
  CompiledStep step = compile(context, [](std::span<const Tensor> in) { return std::vector<Tensor>{sum(in[0])}; });
  for (int round = 0; round < 3; ++round)
    for (int64_t n : {4, 3}) CHECK(step({Tensor::full(context, {n}, round)})[0].item() == static_cast<double>(n * round));
  CHECK(step.stats().size() == 2);
  step.reset();
  CHECK(step.stats().empty());
}

TEST_CASE("plan: values made in the step are made again", "[core][plan]") {
  Context context;
  CompiledStep step = compile(context, [&](std::span<const Tensor> in) {
    const Tensor total = Tensor::zeros(context, {2});
    accumulate_into(total, in[0]);
    accumulate_into(total, in[0]);
    return std::vector<Tensor>{total};
  });
  for (int round = 0; round < 3; ++round) CHECK(step({vector_of(context, {1, 2})})[0].to_vector<float>() == std::vector<float>{2, 4});
}

TEST_CASE("plan: what would go wrong silently is refused", "[core][plan]") {
  Context context;
  const Tensor x = vector_of(context, {1, 2});
  SECTION("reading a value while recording") {
    CompiledStep step = compile(context, [](std::span<const Tensor> in) { return std::vector<Tensor>{mul(in[0], sum(in[0]).item())}; });
    CHECK_THROWS_WITH(step({x}), HasText("frozen into the plan"));
    CHECK(context.recorder() == nullptr);
  }
  SECTION("keeping a tensor of the step outside") {
    Tensor kept;
    CompiledStep step = compile(context, [&](std::span<const Tensor> in) {
      kept = mul(in[0], in[0]);
      return std::vector<Tensor>{sum(kept)};
    });
    CHECK_THROWS_WITH(step({x}), HasText("a result of mul is kept outside"));
  }
  SECTION("a compiled step inside a compiled step") {
    CompiledStep inner = compile(context, [](std::span<const Tensor> in) { return std::vector<Tensor>{sum(in[0])}; });
    CompiledStep outer = compile(context, [&](std::span<const Tensor> in) { return inner(in); });
    CHECK_THROWS_AS(outer({x}), AutogradError);
  }
}

TEST_CASE("plan: a step with gradients and an update in place equals eager steps", "[core][plan]") {
  const bool planned = GENERATE(true, false);
  std::vector<float> results;
  Context context({.poison = true});
  Tensor w = vector_of(context, {0.5f, -0.25f}).set_requires_grad();
  CompiledStep step = compile(
      context,
      [&](std::span<const Tensor> in) {
        const Tensor loss = sum(mul(mul(in[0], w), mul(in[0], w)));
        const Tensor g = grad(std::vector<Tensor>{loss}, std::vector<Tensor>{w})[0];
        NoGrad guard(context);
        w.copy_from(sub(w, mul(g, 0.1)));
        return std::vector<Tensor>{loss.detach()};
      },
      {.plan = planned, .arena = nullptr});
  for (int i = 0; i < 4; ++i) results.push_back(static_cast<float>(step({vector_of(context, {1, 2})})[0].item()));
  // w <- w - 0.1 * 2 * x^2 * w
  float a = 0.5f, b = -0.25f;
  for (float loss : results) {
    CHECK(loss == Approx(a * a + 4 * b * b));
    a -= 0.2f * a;
    b -= 0.8f * b;
  }
}

TEST_CASE("phases: replayed steps are timed like recorded ones", "[core][plan]") {
  Context context;
  CompiledStep step = compile(context, [&](std::span<const Tensor> in) {
    context.enter_phase("forward");
    const Tensor y = mul(in[0], in[0]);
    context.enter_phase("backward");
    return std::vector<Tensor>{sum(y)};
  });
  const Tensor x = Tensor::full(context, {1 << 16}, 1);
  for (int i = 0; i < 3; ++i) {
    context.reset_clock();
    step({x});
    context.enter_phase({});
    CHECK(context.clock().seconds("forward") > 0);
    CHECK(context.clock().seconds("backward") > 0);
  }
}

TEST_CASE("parameter store: one arena, padded views, the same values", "[core]") {
  Context context;
  Tensor a = vector_of(context, {1, 2, 3}).set_requires_grad();
  Tensor b = Tensor::from<float>(context, {2, 2}, std::vector<float>{4, 5, 6, 7});
  const std::vector<Parameter> parameters = {{"a", ParamKind::bias, &a}, {"b", ParamKind::linear_weight, &b}};
  ParameterStore store(context, parameters);
  CHECK(a.to_vector<float>() == std::vector<float>{1, 2, 3});
  CHECK(b.to_vector<float>() == std::vector<float>{4, 5, 6, 7});
  CHECK(a.requires_grad());
  CHECK_FALSE(b.requires_grad());
  CHECK(store.size() == 32);
  CHECK(store.segments()[1].begin == 16);
  store.master.data<float>()[16] = 9;
  CHECK(b.to_vector<float>()[0] == 9);
}

}  // namespace tern
