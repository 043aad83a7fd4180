/// CholeskyQR2 of a tall, skinny Phi: the projector of variable projection.
#pragma once

#include <cstdint>

namespace varpro {

/// [phi; sqrt(ridge) I] = Q R by two rounds of R = chol(Gram), Q = phi R^-1, Gram matrices in double.
/// phi (n, i); q (n, i) the top block of Q; r and inverse = R^-1 (i, i) upper triangles, zeros below.
/// condition = kappa_1(R).
/// Returns 0, or nonzero where a Gram matrix was not positive definite: nothing but condition is then to be used.
/// 4 n i^2 operations.  Orthogonal to rounding while the condition is below about 1e7.
int cholesky_qr2(const double* phi, double ridge, double* q, double* r, double* inverse, double* condition,
                 std::int64_t n, std::int64_t i);

}  // namespace varpro
