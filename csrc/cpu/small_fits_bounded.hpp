/// A small problem with bounds on its coefficients: for each right-hand side the active set, then J itself, which is
/// cheaper than the products of D since each right-hand side has a projection of its own.
///
///     V_p = P_perp sum_m D_m a_j(m),   T_p = R^-T S sum_m e_j(m) (D_m . r),   H = V^T V + T^T T
///
/// over the pairs m of parameter p; T over the columns inside their bounds.
#pragma once

#include "small_fits_problem.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr double kSeparated = 1e-10;  // squared distance of a unit column from those before it that Cholesky shows

/// Whether Phi is of full rank: by the pivots of the Gram matrix, and where they are too small, by orthogonalisation.
inline bool Problem::full_rank() {
    if (!scale_gram(Alone{}, tiny)) return false;
    bool separated = factor_gram(Alone{}, tiny);
    for (int j = 0; j < tiny.i; ++j) separated = separated && tiny.pivot[j] * tiny.pivot[j] > kSeparated;
    return separated || orthonormalise();
}

/// As evaluate, within the bounds.  start : coefficients (i, k) of a nearby w, or null.
inline bool Problem::evaluate_within(const double* start, Point& out) {
    const int k = tiny.k;
    bool solved = out.finite && full_rank();
    double cost = 0.0;
    if (c.derivatives) begin_normal(out);
    out.terms = 0.0;
    active->use(phi.data(), tiny.scale);
    for (int column = 0; solved && column < k; ++column) {
        const double* const right = y.data() + column * rows;
        double square = 0.0;
        dots(right, right, rows, 1, rows, &square);
        for (int j = 0; start && j < tiny.i; ++j) out.a[j * k + column] = start[j * k + column];
        solved = active->solve(right, std::sqrt(square), out.a + column, k, start != nullptr);
        dots(active->residual.data(), active->residual.data(), rows, 1, rows, &square);
        cost += square;
        double terms = 0.0;
        for (int j = 0; j < tiny.i; ++j) terms += std::fabs(out.a[j * k + column]) / tiny.scale[j];
        out.terms += 0.5 * terms * terms;
        if (solved && c.derivatives) add_normal(column, out);
    }
    out.condition = solved ? 1.0 : kInfinite;
    if (!solved) return false;
    out.cost = 0.5 * cost;
    if (c.derivatives) end_normal(out);
    return true;
}

/// H and g of nothing, natural scales, and the squares of D.
inline void Problem::begin_normal(const Point& out) {
    std::fill_n(out.h, c.p * c.p, 0.0);
    std::fill_n(out.gradient, c.p, 0.0);
    for (std::int64_t s = 0; s < c.m; ++s)
        dots(d.data() + s * rows, d.data() + s * rows, rows, 1, rows, tiny.squares + s);
    natural_scales(tiny, out.natural);
    slopes.resize(c.p * rows);
    turned.resize(c.p * c.i);
    moments.resize(c.m);
}

/// The lower triangle of H, and g, of one right-hand side.
inline void Problem::add_normal(int column, const Point& out) {
    const int n = tiny.i, p = tiny.p, width = active->size_of_set();
    dots(active->residual.data(), d.data(), rows, c.m, rows, moments.data());
    std::fill(slopes.begin(), slopes.end(), 0.0);
    std::fill(turned.begin(), turned.end(), 0.0);
    std::fill(place.begin(), place.end(), -1);
    for (int l = 0; l < width; ++l) place[active->order[l]] = l;
    for (int s = 0; s < tiny.m; ++s) {
        const int j = c.columns[s], q = c.parameters[s];
        const double a = out.a[j * tiny.k + column], minus = -a;
        if (a != 0.0) subtract(slopes.data() + q * rows, d.data() + s * rows, rows, &minus, 1, rows);
        out.gradient[q] -= moments[s] * a;
        if (place[j] >= 0 && !c.kaufman) turned[q * n + place[j]] += tiny.scale[j] * moments[s];
    }
    for (int q = 0; q < p; ++q) {
        double* const slope = slopes.data() + q * rows;
        std::fill(right.begin(), right.end(), 0.0);
        active->project_out(slope, right.data());
        active->solve_transposed(turned.data() + q * n);
        dots(slope, slopes.data(), rows, q + 1, rows, right.data());
        for (int l = 0; l <= q; ++l) {
            double both = right[l];
            for (int e = 0; e < width; ++e) both += turned[q * n + e] * turned[l * n + e];
            out.h[q * p + l] += both;
        }
    }
}

/// Both triangles, and a diagonal that is at least the rounding of the projection; see assemble_normal.
inline void Problem::end_normal(const Point& out) {
    const int p = tiny.p, k = tiny.k;
    for (int q = 0; q < p; ++q) {
        double whole = 0.0;
        for (int s = 0; s < tiny.m; ++s)
            for (int column = 0; column < (c.parameters[s] == q ? k : 0); ++column) {
                const double a = out.a[c.columns[s] * k + column];
                whole += tiny.squares[s] * a * a;
            }
        out.h[q * p + q] = std::max(out.h[q * p + q], kUnseen * whole);
        for (int l = 0; l < q; ++l) out.h[l * p + q] = out.h[q * p + l];
    }
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
