#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.h"

namespace tern {

class ThreadPool;

/// c[m,n] = op(a) op(b), all row-major and dense. op(a) is [m,k]: a is [m,k], or [k,m] with transpose_a; op(b) is
/// [k,n]: b is [k,n], or [n,k] with transpose_b.
///
/// Every element of c is computed in one way: k is cut into chunks of a fixed length, each chunk is one chain of
/// multiply-adds in ascending k, and the chunks' sums are added in order. So its bits depend on its row of op(a), its
/// column of op(b) and k alone: not on m, n, its place in c, the threads or the transposes (D5).
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;  ///< c += instead of c =; the old c is the first term of the sum over chunks
};

/// Bytes of scratch memory that gemm() wants for elements of T (float or double).
template <class T>
size_t gemm_workspace(const Gemm& gemm);

/// Runs it on the pool's threads; may be called from inside one of its loops. `bias` [n], added last, or null.
template <class T>
void run_gemm(const Gemm& gemm, const T* a, const T* b, const T* bias, T* c, std::span<std::byte> workspace, ThreadPool& pool);

template <>
size_t gemm_workspace<float>(const Gemm& gemm);
template <>
size_t gemm_workspace<double>(const Gemm& gemm);
template <>
void run_gemm<float>(const Gemm&, const float*, const float*, const float*, float*, std::span<std::byte>, ThreadPool&);
template <>
void run_gemm<double>(const Gemm&, const double*, const double*, const double*, double*, std::span<std::byte>, ThreadPool&);

}  // namespace tern
