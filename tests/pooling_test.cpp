// Pooling beyond the op table: ties, NaN, memory without gradients, bad windows.
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/error.h"
#include "kernels/ops.h"
#include "tests/catch.h"

using namespace tern;

TEST_CASE("max_pool2d: of equal elements the first gets the gradient, of NaNs the last, as in PyTorch", "[pooling]") {
  Context context({.threads = 1});
  const float nan = std::numeric_limits<float>::quiet_NaN(), low = -std::numeric_limits<float>::infinity();
  Tensor x = Tensor::from<float>(context, {1, 2, 6, 1},
                                 {1, 1, nan, 2, low, low,  //
                                  1, 1, 3, nan, low, low});
  x.set_requires_grad();
  const Tensor y = max_pool2d(x);
  CHECK(y.data<float>()[0] == 1);
  CHECK(std::isnan(y.data<float>()[1]));
  CHECK(y.data<float>()[2] == low);
  y.backward(Tensor::from<float>(context, y.shape(), {5, 6, 7}));
  CHECK(x.grad().to_vector<float>() == std::vector<float>{5, 0, 0, 0, 7, 0,  //
                                                          0, 0, 0, 6, 0, 0});
}

TEST_CASE("max_pool2d: overlapping windows add their gradients", "[pooling]") {
  Context context({.threads = 2});
  Tensor x = Tensor::from<float>(context, {1, 3, 3, 1}, {0, 0, 0, 0, 9, 0, 0, 0, 0});
  x.set_requires_grad();
  max_pool2d(x, {.kernel = 2, .stride = 1}).backward(Tensor::from<float>(context, {1, 2, 2, 1}, {1, 2, 3, 4}));
  CHECK(x.grad().to_vector<float>() == std::vector<float>{0, 0, 0, 0, 10, 0, 0, 0, 0});
}

TEST_CASE("pooling: windows that fit no picture are refused by name", "[pooling]") {
  Context context({.threads = 1});
  const Tensor x = Tensor::full(context, {1, 4, 4, 2}, 1);
  CHECK_THROWS_WITH(max_pool2d(x, {.kernel = 5}), HasText("[max_pool2d]") && HasText("smaller than the kernel 5"));
  CHECK_THROWS_AS(max_pool2d(x, {.kernel = 5}), ShapeError);
  CHECK_THROWS_AS(avg_pool2d(x, {.kernel = 2, .padding = 2}), ConfigError);
  CHECK_THROWS_AS(avg_pool2d(x, {.kernel = 0}), ConfigError);
  CHECK_THROWS_AS(max_pool2d(x, {.stride = -1}), ConfigError);
  CHECK_THROWS_AS(global_avg_pool(Tensor::full(context, {4, 4, 2}, 1)), ShapeError);
}
