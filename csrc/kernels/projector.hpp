/// CholeskyQR2 of a tall, skinny Phi: the projector of variable projection.
#pragma once

#include <cstdint>

#include "launch.hpp"

namespace varpro {

/// [phi; sqrt(ridge) I] = Q R by two rounds of R = chol(Gram), Q = phi R^-1, Gram matrices in double.
/// phi (n, i); q (n, i) the top block of Q; r and inverse = R^-1 (i, i) upper triangles, zeros below.
/// condition = kappa_1(R).
/// Returns 0, or nonzero if a Gram matrix was not positive definite: then only condition may be used.  4 n i^2
/// operations.  Orthogonal to rounding while the condition is below about 1e7.
int cholesky_qr2(const double* phi, double ridge, double* q, double* r, double* inverse, double* condition,
                 std::int64_t n, std::int64_t i);

namespace cuda {

/// An orthonormal basis of the range of each Phi and the map back to coefficients; rank, rescaling and truncation as in
/// varpro.linalg.projector.factor:
///   [Phi; sqrt(ridge) I] = Q R,  u = top block of Q,  A = back u^T Y.
/// phi (problems, n, units), not modified, and u like it, columns beyond the rank zero: both double, or phi float and u
/// either; n any, units from 1 to 64.  gram (problems, units, units), the lower triangle of Phi^T Phi in double, or
/// null; with it a pass over phi is saved.  back (problems, units, units); rank (problems); condition (problems),
/// kappa_1(R) where two rounds of Cholesky QR were enough, else sigma_1 / sigma_rank, infinite at rank 0; finite
/// (problems): 0 where phi has a value that is not finite; u and back are then NaN, the rank 0, the condition infinite.
/// tolerance >= 0, relative to sigma_1; rescale: scale columns to unit length first, unless one is zero.  workspace:
/// projector_workspace(call) bytes that begin at a multiple of 8.
///
/// Ten kernels in a row, without the host; a problem that does not need one leaves it at once.  All sums are in double.
/// A well-conditioned problem reads phi three times (two with gram) and writes u once, with 5/2 n units^2
/// multiply-adds. Any other reads phi up to five times, and writes u twice and reads it twice.
struct ProjectorLaunch {
    const void* phi;
    const double* gram;
    void* u;
    double* back;
    std::int32_t* rank;
    double* condition;
    std::int32_t* finite;
    void* workspace;
    std::int64_t problems, n, units;
    double ridge, tolerance;
    bool rescale, phi_is_float, u_is_float;
};
std::int64_t projector_workspace(const ProjectorLaunch& call);
void projector(const ProjectorLaunch& call, Stream stream);

}  // namespace cuda
}  // namespace varpro
