/// Products with the compressed Jacobian that never unpack it.  On a CPU they are two products of BLAS, which the
/// Python entry calls, z in the precision of D; a device has a kernel that computes both in one pass over D.
#pragma once

#include <cstdint>

#include "launch.hpp"

namespace varpro::cuda {

/// z = U^T D and g = D^T R, all sums in double.
/// d (problems, n, m) double or float; u (problems, n, rank) and r (problems, n, k), either without columns; z
/// (problems, rank, m), g (problems, m, k).  workspace: jacobian_products_workspace(call) bytes, null where that is 0:
/// partial sums where blocks share the rows of a problem, which depends on the sizes alone. Reads d ceil((rank + k) /
/// 64) times, two entries per load if m is even and d aligned, and moves 8 (n + m) (rank + k) other bytes per problem,
/// with 2 n m (rank + k) operations on the tensor cores.
struct JacobianProductsLaunch {
    const void* d;
    const double* u;
    const double* r;
    double* z;
    double* g;
    void* workspace;
    std::int64_t problems, n, m, rank, k;
    bool d_is_float;
};
std::int64_t jacobian_products_workspace(const JacobianProductsLaunch& call);
void jacobian_products(const JacobianProductsLaunch& call, Stream stream);

}  // namespace varpro::cuda
