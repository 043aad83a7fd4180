/// Rows scaled to a sphere of radius 1 / xi, and a gradient propagated back through that.
///
///   s = sqrt(||x||^2 + eps),   xhat = x / (xi s),   u = x / s,   (dxhat)^T g = (g - u (u . g)) / (xi s)
///
/// All arrays are C-contiguous and do not alias; a row depends on itself alone.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "variants.hpp"

namespace varpro {

/// x, g, out (n, d), all double or all float; s (n) and along (n), u . g of each row, double, as all arithmetic.
/// g null: out = xhat, along is not touched.  Else out is the gradient for x.
/// s is not finite where x is not or its square overflows; along where g is not.  s = 0 leaves NaN in that row.
/// Reads sizeof(x) n d bytes (twice that with g) and writes as many bytes as x has.
struct InwardScaleCall {
    const void* x;
    const void* g;
    void* out;
    double* s;
    double* along;
    bool is_float;
    std::int64_t n, d;
    double xi, eps;
};

// clang-format off
VARPRO_VARIANTS(
    void inward_scale(const InwardScaleCall& call);
)
// clang-format on

namespace cuda {

/// The same on a device.
void inward_scale(const InwardScaleCall& call, Stream stream);

}  // namespace cuda
}  // namespace varpro
