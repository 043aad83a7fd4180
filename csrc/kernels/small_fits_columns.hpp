/// The columns of ready models at one point, and their derivatives.  The caller passes the exponentials; u is (t -
/// centre) / width.
#pragma once

#include "portable.hpp"

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

}  // namespace
}  // namespace varpro
