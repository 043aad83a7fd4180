/// CholeskyQR2 of a tall, skinny Phi: the projector of variable projection.
#pragma once

#include <cstdint>

#include "launch.hpp"

namespace varpro {

/// [phi; sqrt(ridge) I] = Q R by two rounds of R = chol(Gram), Q = phi R^-1, Gram matrices in double.
/// phi (n, i); q (n, i) the top block of Q; r and inverse = R^-1 (i, i) upper triangles, zeros below.
/// condition = kappa_1(R).
/// Returns 0, or nonzero where a Gram matrix was not positive definite: nothing but condition is then to be used.
/// 4 n i^2 operations.  Orthogonal to rounding while the condition is below about 1e7.
int cholesky_qr2(const double* phi, double ridge, double* q, double* r, double* inverse, double* condition,
                 std::int64_t n, std::int64_t i);

namespace cuda {

/// An orthonormal basis of the range of each Phi and the way back to coefficients, the rank and what is rescaled or
/// truncated as varpro.linalg.projector.factor has it:
///   [Phi; sqrt(ridge) I] = Q R,  u = top block of Q,  A = back u^T Y.
/// phi (problems, n, units), not modified, and u like it, columns beyond the rank zero: both double, or phi float and u
/// either; n any, units from 1 to 64.  gram (problems, units, units), the lower triangle of Phi^T Phi in double, or
/// null: saves a pass over phi. back (problems, units, units); rank (problems); condition (problems), kappa_1(R) where
/// two rounds of Cholesky QR served, else sigma_1 / sigma_rank, infinite at rank 0; finite (problems): 0 where phi has
/// a value that is not, and then u and back are NaN, the rank 0, the condition infinite.  tolerance >= 0, relative to
/// sigma_1; rescale: of columns of unit length, unless one is zero.  workspace: projector_workspace(call) bytes that
/// begin at a multiple of 8.
///
/// Ten kernels without a word to the host; a problem that does not need one leaves it at once.  All sums are in double.
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
