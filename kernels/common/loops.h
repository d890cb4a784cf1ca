#pragma once
/// Put before a loop whose iterations do not read what others write: the compiler need not prove it to vectorise.
/// Elementwise loops give the same bits in vectors and in the tail, because contraction is off tree-wide.
#if defined(__clang__)
#define TERN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define TERN_INDEPENDENT _Pragma("GCC ivdep")
#endif
