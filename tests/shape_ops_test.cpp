// What the table of ops does not see: views, whole-number dtypes, and errors by name.
#include "core/error.h"
#include "kernels/concat/concat.h"
#include "kernels/flip/flip.h"
#include "kernels/gather/gather.h"
#include "kernels/pad/pad.h"
#include "kernels/permute/permute.h"
#include "kernels/reshape/reshape.h"
#include "kernels/slice/slice.h"
#include "tests/catch.h"

namespace tern {

TEST_CASE("reshape and slices of the leading axis share memory, other slices do not", "[shape]") {
  Context context;
  const Tensor x = Tensor::arange(context, 24);
  const Tensor y = reshape(x, {4, -1});
  CHECK(y.shape() == Shape{4, 6});
  CHECK(y.raw() == x.raw());
  CHECK(slice(y, 0, 2, 4).data<int64_t>() == x.data<int64_t>() + 12);
  CHECK(slice(y, 1, 2, 4).storage() != x.storage());
  CHECK(flatten(reshape(x, {2, 3, 4}), 0).shape() == Shape{24});
}

TEST_CASE("ops that move elements take every dtype", "[shape]") {
  Context context;
  const DType dtype = GENERATE(DType::u8, DType::i32, DType::i64, DType::bf16, DType::f64);
  const Tensor x = reshape(Tensor::arange(context, 6, dtype), {2, 3});
  const Tensor moved[] = {
      permute(x, {1, 0}), flip(x, {1}), concat(std::vector{x, x}, 1), gather(x, Tensor::from(context, {1}, std::vector<int64_t>{1}), 1),
      pad(x, {.before = {0, 1}, .after = {0, 0}, .mode = PadMode::reflect}),
  };
  const std::vector<std::vector<double>> wanted = {
      {0, 3, 1, 4, 2, 5}, {2, 1, 0, 5, 4, 3}, {0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}, {1, 4}, {1, 0, 1, 2, 4, 3, 4, 5}};
  for (size_t k = 0; k < wanted.size(); ++k) {
    const Tensor flat = reshape(moved[k], {-1});
    REQUIRE(flat.numel() == static_cast<int64_t>(wanted[k].size()));
    for (int64_t i = 0; i < flat.numel(); ++i) CHECK(slice(flat, 0, i, i + 1).item() == wanted[k][static_cast<size_t>(i)]);
  }
}

TEST_CASE("shape ops name what does not fit", "[shape]") {
  Context context;
  const Tensor x = Tensor::zeros(context, {4, 6});
  auto indices = [&](std::vector<int64_t> values) { return Tensor::from(context, {static_cast<int64_t>(values.size())}, values); };
  CHECK_THROWS_WITH(gather(x, indices({0, 3, 4}), 0), "[gather] index 4 at position 2 is outside 0..3");
  CHECK_THROWS_AS(gather(x, indices({-1}), 0), DataError);
  CHECK_THROWS_AS(scatter_add(x, indices({0, 1, 2, 9}), 5), DataError);
  CHECK_THROWS_AS(gather(x, Tensor::zeros(context, {2}), 0), DTypeError);
  CHECK_THROWS_WITH(reshape(x, {5, 5}), "[reshape] got f32[4, 6] of 24 elements, wants [5, 5] of 25");
  CHECK_THROWS_AS(reshape(x, {5, -1}), ShapeError);
  CHECK_THROWS_AS(reshape(x, {-1, -1}), ShapeError);
  CHECK_THROWS_AS(slice(x, 0, 2, 5), ShapeError);
  CHECK_THROWS_AS(slice(x, 1, 3, 3), ShapeError);
  CHECK_THROWS_AS(permute(x, {0, 0}), ShapeError);
  CHECK_THROWS_AS(permute(x, {0}), ShapeError);
  CHECK_THROWS_AS(flip(x, {2}), ShapeError);
  CHECK_THROWS_AS(concat(std::vector{x, Tensor::zeros(context, {3, 5})}, 0), ShapeError);
  CHECK_THROWS_AS(concat(std::vector{x, Tensor::zeros(context, {4, 6}, DType::f64)}, 0), DTypeError);
  CHECK_THROWS_AS(pad(x, {.before = {4, 0}, .after = {0, 0}, .mode = PadMode::reflect}), ShapeError);
  CHECK_THROWS_AS(pad(x, {.before = {1}, .after = {0}}), ShapeError);
}

}  // namespace tern
