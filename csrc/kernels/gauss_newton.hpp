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
/// n m^2 + r m^2 operations in BLAS; one pass over h with 2 k + 4 operations an entry: 8 m^2 / 2 bytes read and
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
/// untouched.  p^3 / 3
/// operations. single: factor a copy scaled to unit diagonal in single precision and refine with residuals in double,
/// to 1e-10 relative; where that does not converge, the double factorisation is taken after all.
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

#define VARPRO_DECLARE_WEIGH(isa)                          \
    namespace isa {                                        \
    void weigh(const WeighCall& call, const double* gram); \
    void weigh(const WeighCall& call, const float* gram);  \
    }

VARPRO_DECLARE_WEIGH(baseline)
VARPRO_DECLARE_WEIGH(avx2)
VARPRO_DECLARE_WEIGH(avx512)

/// The variants that this processor runs; set when the module is imported.
struct Weigh {
    void (*wide)(const WeighCall&, const double*) = baseline::weigh;
    void (*narrow)(const WeighCall&, const float*) = baseline::weigh;
};
extern Weigh weigh_variant;

/// gram (i, i) lower triangle += phi^T phi, cross (i, k) += phi^T y; phi (n, i), y (n, k).
void accumulate_gram(const double* phi, const double* y, double* gram, double* cross, std::int64_t n, std::int64_t i,
                     std::int64_t k);

}  // namespace varpro
