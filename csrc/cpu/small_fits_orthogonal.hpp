/// A small problem whose Gram matrix is too ill-conditioned: orthonormal columns replace the scalar products.
///
///     Phi S = Q R, S the reciprocal norms, by Gram-Schmidt, each column twice: orthogonal to rounding for any Phi of
///     full numerical rank.    A = S R^-1 Q^T y,   r = y - Q Q^T y,   and D becomes P_perp D: D^T P_perp D loses
///     nothing
///
/// Giraud, Langou, Rozloznik, van den Eshof, Numer. Math. 101 (2005) 87-100: twice is enough.
#pragma once

#include "small_fits_problem.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// See subtract_projection, for the first `count` columns of q.
inline double Problem::project_out(double* column, int count, double* part, int stride) {
    return subtract_projection(column, q.data(), rows, count, correction.data(), part, stride);
}

/// Q in q, R^-1 in `triangle`, (Phi^T Phi)^-1 in tiny.inverse.  False if a column adds nothing but rounding to those
/// before it.
inline bool Problem::orthonormalise() {
    if (c.ridge > 0.0 || c.n < c.i) return false;
    const int n = tiny.i;
    const double tolerance = static_cast<double>(c.n) * kEpsilon;
    q.resize(n * rows);
    triangle.assign(n * n, 0.0);
    double* const r = tiny.gram;
    std::fill_n(r, n * n, 0.0);
    for (int j = 0; j < n; ++j) {
        double* const column = q.data() + j * rows;
        const double scale = tiny.scale[j];
        if (!(scale > 0.0 && is_finite(scale))) return false;
        for (std::int64_t row = 0; row < rows; ++row) column[row] = phi[j * rows + row] * scale;
        const double length = std::sqrt(project_out(column, j, r + j, n));
        if (!(length > tolerance)) return false;
        for (std::int64_t row = 0; row < rows; ++row) column[row] /= length;
        r[j * n + j] = length;
    }
    for (int j = 0; j < n; ++j) {
        double* const x = triangle.data();
        x[j * n + j] = 1.0 / r[j * n + j];
        for (int l = j - 1; l >= 0; --l) {
            double value = 0.0;
            for (int e = l + 1; e <= j; ++e) value -= r[l * n + e] * x[e * n + j];
            x[l * n + j] = value / r[l * n + l];
        }
    }
    for (int j = 0; j < n; ++j)
        for (int l = 0; l <= j; ++l) {
            double value = 0.0;
            for (int e = j; e < n; ++e) value += triangle[j * n + e] * triangle[l * n + e];
            tiny.inverse[j * n + l] = tiny.inverse[l * n + j] = value * tiny.scale[j] * tiny.scale[l];
        }
    return true;
}

/// a and the residual; returns the residual's square.
inline double Problem::orthogonal_coefficients(double* a) {
    const int n = tiny.i, k = tiny.k;
    double total = 0.0;
    std::copy(y.begin(), y.end(), residual.begin());
    for (int column = 0; column < k; ++column) {
        std::fill(right.begin(), right.end(), 0.0);
        total += project_out(residual.data() + column * rows, n, right.data(), 1);
        for (int j = 0; j < n; ++j) {
            double value = 0.0;
            for (int l = j; l < n; ++l) value += triangle[j * n + l] * right[l];
            a[j * k + column] = value * tiny.scale[j];
        }
    }
    return total;
}

/// Replaces D by P_perp D, which needs no further projection.
inline void Problem::orthogonal_assemble(const Point& out) {
    for (std::int64_t s = 0; s < c.m; ++s)
        dots(d.data() + s * rows, d.data() + s * rows, rows, 1, rows, tiny.squares + s);
    natural_scales(tiny, out.natural);
    for (std::int64_t s = 0; s < c.m; ++s) {
        double* const column = d.data() + s * rows;
        std::fill_n(tiny.cross + s * c.i, c.i, 0.0);
        project_out(column, tiny.i, tiny.projected, 1);
        dots(column, d.data(), rows, s + 1, rows, tiny.pairs + lower_place(s, 0));
        dots(column, residual.data(), rows, c.k, rows, tiny.moment + s * c.k);
    }
    assemble_normal(Alone{}, tiny, out.a, out.h, out.gradient);
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
