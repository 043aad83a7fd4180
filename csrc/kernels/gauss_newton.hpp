/// The Gauss-Newton matrix from the compressed Jacobian, and damped solves with it.
///
/// BLAS and LAPACK are those of SciPy; their functions are handed in once (see blas.hpp).  C order throughout: the
/// lower triangle of a C-ordered matrix is the upper one of LAPACK's.  Nothing is transposed or copied.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "variants.hpp"

namespace varpro {

/// One problem's part of
///   h[m, m'] = aat[j, j'] (D^T D - z^T z)[m, m'] + gram_inverse[j, j'] (g g^T)[m, m'],   m' <= m,  j = columns[m]
/// d (n, m) double or float; z (r, m); aat, gram_inverse (i, i), the latter null for Kaufman's matrix; g (m, k);
/// columns (m).  h (m, m): lower triangle written, upper untouched.  D^T D in d's precision, all else in double.
/// n m^2 + r m^2 operations in BLAS; one pass over h with 2 k + 4 operations per entry: 8 m^2 / 2 bytes read and
/// written.
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
/// Returns 0, or the number of the leading minor that is not positive (p where a value is not finite); step is then
/// untouched.  p^3 / 3 operations.  single: factor a copy scaled to unit diagonal in single precision and refine with
/// residuals in double, to 1e-10 relative; if that does not converge, fall back on the double factorisation.
int damped_solve(const double* h, const double* diagonal, double lambda, const double* rhs, double* step,
                 std::int64_t p, bool single);

/// The pass over the lower triangle: h (holding z^T z) becomes aat o (gram - h) + gram_inverse o (g g^T), the weights
/// spread over pairs (i, m); gt (k, m) is g transposed, inverse null for Kaufman's matrix.
struct WeighCall {
    const double* weight;
    const double* inverse;
    const double* g;
    const double* gt;
    const std::int32_t* columns;
    double* h;
    std::int64_t m, k;
};

// clang-format off
VARPRO_VARIANTS(
    void weigh(const WeighCall& call, const double* gram);
    void weigh(const WeighCall& call, const float* gram);
)
// clang-format on

namespace cuda {

/// The Gauss-Newton matrix from its products, the lower triangle of
///   h[m, m'] = aat[j, j'] (gram - ztz)[m, m'] + gram_inverse[j, j'] (g g^T)[m, m'] + (m = m') lambda diagonal[m],
/// j = columns[m].  gram, ztz (problems, m, m), only m' <= m read; ztz null where gram holds the difference already;
/// aat, gram_inverse (problems, i, i), the latter null for Kaufman's matrix; g (problems, m, k); columns (m); lambda
/// (problems) and diagonal (problems, m), both null for no damping; h (problems, m, m), m' > m untouched.
/// All double; or gram float; or all float.  Moves m^2 / 2 (sizeof(gram) + sizeof(ztz) + sizeof(h)) bytes per problem.
struct AssembleLaunch {
    const void* gram;
    const void* ztz;
    const void* aat;
    const void* gram_inverse;
    const void* g;
    const std::int32_t* columns;
    const void* lambda;
    const void* diagonal;
    void* h;
    std::int64_t problems, m, i, k;
    bool gram_is_float, h_is_float;
};
void assemble(const AssembleLaunch& call, Stream stream);

}  // namespace cuda
}  // namespace varpro
