#pragma once
/// Put before a loop whose iterations do not read what others write: the compiler need not prove it to vectorise.
/// Elementwise loops give the same bits in vectors and in the tail, because contraction is off tree-wide.
#if defined(__clang__)
#define TERN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define TERN_INDEPENDENT _Pragma("GCC ivdep")
#endif

/// Put before a short loop over an array of vectors: unrolled early, its elements live in registers.
#if defined(__clang__)
#define TERN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TERN_UNROLL _Pragma("GCC unroll 16")
#endif
