#pragma once
#include <algorithm>
#include <span>
#include <vector>

#include "tests/op_cases.h"

/// Naive references for elementwise ops and reductions: index arithmetic by coordinates, one element at a time.
namespace tern::testing {

/// The coordinates of element i of a row-major shape.
inline std::vector<int64_t> coordinates(const Shape& shape, int64_t i) {
  std::vector<int64_t> at(static_cast<size_t>(shape.rank()));
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    at[static_cast<size_t>(axis)] = i % shape[axis];
    i /= shape[axis];
  }
  return at;
}

/// The value that broadcasts to output coordinates `at`: axes are matched from the last, extent 1 reads element 0.
inline double broadcast_value(const Array& x, std::span<const int64_t> at) {
  int64_t index = 0;
  for (int axis = 0; axis < x.shape.rank(); ++axis) {
    const int64_t c = at[at.size() - static_cast<size_t>(x.shape.rank() - axis)];
    index = index * x.shape[axis] + (x.shape[axis] == 1 ? 0 : c);
  }
  return x[index];
}

inline Array make_array(const Shape& shape) { return {shape, std::vector<double>(static_cast<size_t>(shape.numel()))}; }

template <class F>
Array naive_unary(const Array& x, const F& f) {
  Array y = make_array(x.shape);
  for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] = f(x[i]);
  return y;
}

template <class F>
Array naive_binary(const Array& a, const Array& b, const F& f) {
  Array y = make_array(broadcast(a.shape, b.shape, "naive"));
  for (int64_t i = 0; i < y.shape.numel(); ++i) {
    const auto at = coordinates(y.shape, i);
    y[i] = f(broadcast_value(a, at), broadcast_value(b, at));
  }
  return y;
}

/// f of all values that go into each output, in row-major order of x.
template <class F>
Array naive_reduce(const Array& x, std::vector<int> axes, bool keepdim, const F& f) {
  const int rank = x.shape.rank();
  std::vector<bool> reduced(static_cast<size_t>(rank), axes.empty());
  for (int axis : axes) reduced[static_cast<size_t>(x.shape.normalize_axis(axis))] = true;
  std::vector<int64_t> kept, shown;
  for (int axis = 0; axis < rank; ++axis) {
    kept.push_back(reduced[static_cast<size_t>(axis)] ? 1 : x.shape[axis]);
    if (!reduced[static_cast<size_t>(axis)] || keepdim) shown.push_back(kept.back());
  }
  const Shape kept_shape{std::span<const int64_t>(kept)};
  std::vector<std::vector<double>> groups(static_cast<size_t>(kept_shape.numel()));
  for (int64_t i = 0; i < x.shape.numel(); ++i) {
    const auto at = coordinates(x.shape, i);
    int64_t index = 0;
    for (int axis = 0; axis < rank; ++axis)
      index = index * kept_shape[axis] + (reduced[static_cast<size_t>(axis)] ? 0 : at[static_cast<size_t>(axis)]);
    groups[static_cast<size_t>(index)].push_back(x[i]);
  }
  Array y = make_array(Shape{std::span<const int64_t>(shown)});
  for (size_t o = 0; o < groups.size(); ++o) y[static_cast<int64_t>(o)] = f(groups[o]);
  return y;
}

}  // namespace tern::testing
