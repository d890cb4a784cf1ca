#pragma once
#include <cstdint>

namespace tern {

/// A row of 2x2 windows with stride 2, f32: `count` of them, next to each other, of `channels` each. `upper` and `lower` are the rows of x
/// [2*count, channels]; y [count, channels]; index, which may be null: which pixel of its window an element came from, 0..3 row-major.
/// Of equal elements the first wins, of NaNs the last, as in max_pool2d().
void max_of_four_row(const float* upper, const float* lower, int64_t count, int64_t channels, float* y, uint8_t* index);

/// The gradient: each element of dy [count, channels] goes to its pixel of upper and lower, the other three get 0.
void spread_to_four_row(const float* dy, const uint8_t* index, int64_t count, int64_t channels, float* upper, float* lower);

}  // namespace tern
