/// The columns of ready models at one point, their derivatives, and the parameters that they read.  The caller passes
/// the exponentials; u is (t - centre) / width.
#pragma once

#include <cstdint>

#include "portable.hpp"
#include "small_fits.hpp"

namespace varpro {
namespace {

template <typename Real>
VARPRO_PORTABLE Real power(Real t, int exponent) {
    Real value = Real(1);
    for (int e = 0; e < exponent; ++e) value *= t;
    return value;
}

/// phi = exp(-t / w), rate_squared = 1 / w^2
template <typename Real>
VARPRO_PORTABLE Real decay_slope(Real phi, Real t, Real rate_squared) {
    return phi * (t * rate_squared);
}

/// phi = exp(-w t)
template <typename Real>
VARPRO_PORTABLE Real rate_slope(Real phi, Real t) {
    return -phi * t;
}

/// Its exponential is the Gaussian.
template <typename Real>
VARPRO_PORTABLE Real gaussian_exponent(Real u) {
    return Real(-0.5) * u * u;
}

template <typename Real>
VARPRO_PORTABLE Real lorentzian(Real u) {
    return Real(1) / (Real(1) + u * u);
}

/// Derivatives by the centre and by the width; inverse = 1 / width.
template <typename Real>
VARPRO_PORTABLE Real gaussian_by_centre(Real phi, Real u, Real inverse) {
    return phi * u * inverse;
}
template <typename Real>
VARPRO_PORTABLE Real gaussian_by_width(Real phi, Real u, Real inverse) {
    return phi * u * u * inverse;
}
template <typename Real>
VARPRO_PORTABLE Real lorentzian_by_centre(Real phi, Real u, Real inverse) {
    return Real(2) * phi * phi * inverse * u;
}
template <typename Real>
VARPRO_PORTABLE Real lorentzian_by_width(Real phi, Real u, Real inverse) {
    return lorentzian_by_centre(phi, u, inverse) * u;
}

/// Parameter q of the program at u, for problem `number` of the data; 1 if there is none.
VARPRO_PORTABLE double program_parameter(const ProgramLinks& links, const double* u, int q, std::int64_t number) {
    if (q < 0) return 1.0;
    if (!links.source) return u[q];
    const int source = links.source[q];
    const double offset = links.offset[number * links.stride + q];
    return source < 0 ? offset : links.factor[q] * u[source] + offset;
}

/// Its derivative by the parameter that it follows; 0 if it is held, or there is none.
VARPRO_PORTABLE double program_slope(const ProgramLinks& links, int q) {
    if (q < 0) return 0.0;
    return links.source ? links.factor[q] : 1.0;
}

}  // namespace
}  // namespace varpro
