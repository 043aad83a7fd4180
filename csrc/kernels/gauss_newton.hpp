/// The Gauss-Newton matrix from the compressed Jacobian, and damped solves with it.
///
/// BLAS and LAPACK are the ones that SciPy carries; their functions are handed in once (see blas.hpp).  C order
/// throughout: the lower triangle of a C-ordered matrix is the upper one of LAPACK's.  Nothing is transposed or copied.
#pragma once

#include <cstdint>

namespace varpro {

/// One problem's part of
///   h[m, m'] = aat[j, j'] (D^T D - z^T z)[m, m'] + gram_inverse[j, j'] (g g^T)[m, m'],   m' <= m,  j = columns[m]
/// d (n, m) double or float; z (r, m); aat, gram_inverse (i, i), the latter null for Kaufman's matrix; g (m, k);
/// columns (m).  h (m, m): lower triangle written, upper untouched.  D^T D in d's precision, all else in double.
/// n m^2 + r m^2 operations in BLAS; one pass over h with 2 k + 4 operations an entry: 8 m^2 / 2 bytes read and written.
struct NormalMatrixCall {
    const void* d;
    bool d_is_float;
    const double* z;
    const double* aat;
    const double* gram_inverse;
    const double* g;
    const std::int32_t* columns;
    double* h;
    std::int64_t n, m, r, i, k;
};
void normal_matrix(const NormalMatrixCall& call);

/// Solve (h + lambda diag(diagonal)) step = rhs by Cholesky on a copy of the lower triangle of h (p, p).
/// Returns 0, or LAPACK's number of the leading minor that is not positive; step is then untouched.  p^3 / 3 operations.
int damped_solve(const double* h, const double* diagonal, double lambda, const double* rhs, double* step,
                 std::int64_t p);

/// gram (i, i) lower triangle += phi^T phi, cross (i, k) += phi^T y; phi (n, i), y (n, k).
void accumulate_gram(const double* phi, const double* y, double* gram, double* cross, std::int64_t n, std::int64_t i,
                     std::int64_t k);

}  // namespace varpro
