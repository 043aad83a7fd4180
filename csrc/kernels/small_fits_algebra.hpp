/// A small problem once its scalar products are known: algebra on matrices of a few entries, by one thread or a team.
#pragma once

#include <cmath>
#include <cstdint>

#include "portable.hpp"

namespace varpro {
namespace {

/// Sizes, options and places of one problem.  Packed: the lower triangle, row after row.
struct Tiny {
    int i, k, m, p;
    double ridge;
    bool kaufman;
    const std::int32_t *columns, *parameters;  // of the m pairs
    double* products;                          // Phi^T Phi, packed
    double *gram, *inverse;                    // (i, i) scaled and factored; of Phi^T Phi + ridge I
    double *scale, *pivot, *norms, *totals;    // (i)
    double *pairs, *cross, *moment;            // D^T D packed, D^T Phi (m, i), D^T R (m, k)
    double* squares;                           // (m) |D_m|^2
    double* projected;                         // (m, i)
};

/// Counts of doubles: of the scalar products, and of the matrices of i columns.
VARPRO_PORTABLE int count_sums(const Tiny& s) { return s.i * (s.i + 1) / 2 + s.m * (s.m + 1) / 2 + s.m * (s.i + s.k); }
VARPRO_PORTABLE int count_matrices(const Tiny& s) { return 2 * s.i * s.i + 4 * s.i + s.m; }

/// products, pairs, cross, moment from `at`, one after another.
VARPRO_PORTABLE void place_sums(Tiny& s, double* at) {
    s.products = at;
    s.pairs = s.products + s.i * (s.i + 1) / 2;
    s.cross = s.pairs + s.m * (s.m + 1) / 2;
    s.moment = s.cross + s.m * s.i;
}

VARPRO_PORTABLE void place_matrices(Tiny& s, double* at) {
    s.gram = at;
    s.inverse = s.gram + s.i * s.i;
    s.scale = s.inverse + s.i * s.i;
    s.pivot = s.scale + s.i;
    s.norms = s.pivot + s.i;
    s.totals = s.norms + s.i;
    s.squares = s.totals + s.i;
}

VARPRO_PORTABLE int lower_place(int row, int column) { return row * (row + 1) / 2 + column; }

VARPRO_PORTABLE int symmetric_place(int a, int b) { return a > b ? lower_place(a, b) : lower_place(b, a); }

VARPRO_PORTABLE double largest_of(const double* x, int n) {
    double largest = 0.0;
    for (int j = 0; j < n; ++j) largest = x[j] > largest ? x[j] : largest;
    return largest;
}

/// gram with unit diagonal, both triangles, and its row sums in norms.  False where a column is zero or not finite.
template <typename Team>
VARPRO_PORTABLE bool scale_gram(const Team& team, const Tiny& s) {
    const int n = s.i;
    for (int j = team.rank; j < n; j += team.size) s.scale[j] = 1.0 / sqrt(s.products[lower_place(j, j)] + s.ridge);
    team.sync();  // the scale is ready
    for (int j = team.rank; j < n; j += team.size) {
        double total = 0.0;
        for (int l = 0; l < n; ++l) {
            const double product = s.products[symmetric_place(j, l)] + (j == l ? s.ridge : 0.0);
            const double entry = product * (s.scale[j] * s.scale[l]);
            s.gram[j * n + l] = entry;
            total += fabs(entry);
        }
        s.norms[j] = total;
    }
    bool usable = true;
    for (int j = 0; j < n; ++j) usable = usable && s.scale[j] > 0.0 && s.scale[j] <= kLargest;
    team.sync();  // the rows of gram and their norms are ready
    return usable;
}

/// Cholesky in the lower triangle of gram; pivot holds its diagonal.  False where a minor is not
/// positive.
template <typename Team>
VARPRO_PORTABLE bool factor_gram(const Team& team, const Tiny& s) {
    const int n = s.i;
    bool usable = true;
    for (int l = 0; l < n; ++l) {
        double pivot = 0.0;
        for (int j = l; j < n; j += j == l ? 1 + team.rank : team.size) {  // each member makes the pivot for itself
            double value = s.gram[j * n + l];
            for (int q = 0; q < l; ++q) value -= s.gram[j * n + q] * s.gram[l * n + q];
            if (l < j) {
                s.gram[j * n + l] = value / pivot;
                continue;
            }
            usable = usable && value > 0.0;
            pivot = sqrt(value);
            if (team.rank == 0) s.pivot[l] = pivot;
        }
        team.sync();  // the column is ready
    }
    return usable;
}

/// inverse = (Phi^T Phi + ridge I)^-1 by Cholesky of the Gram matrix of unit columns, from products.  Returns its
/// kappa_1, to every member; infinite on breakdown, and inverse is then not to be used.
template <typename Team>
VARPRO_PORTABLE double invert_gram(const Team& team, const Tiny& s) {
    const int n = s.i;
    const bool scaled = scale_gram(team, s), factored = factor_gram(team, s);
    for (int column = team.rank; column < n; column += team.size) {
        double* x = s.inverse + column * n;
        for (int j = 0; j < n; ++j) {
            double value = j == column ? 1.0 : 0.0;
            for (int q = 0; q < j; ++q) value -= s.gram[j * n + q] * x[q];
            x[j] = value / s.pivot[j];
        }
        for (int j = n - 1; j >= 0; --j) {
            double value = x[j];
            for (int q = j + 1; q < n; ++q) value -= s.gram[q * n + j] * x[q];
            x[j] = value / s.pivot[j];
        }
        double total = 0.0;
        for (int j = 0; j < n; ++j) {
            total += fabs(x[j]);
            x[j] *= s.scale[j] * s.scale[column];
        }
        s.totals[column] = total;
    }
    team.sync();  // the inverse is ready
    if (!scaled || !factored) return kInfinite;
    return largest_of(s.norms, n) * largest_of(s.totals, n);
}

constexpr double kCancelled = 1e-7;  // of |D_m|^2: the projection must leave more than this for scalar products to do
constexpr double kUnseen =
    64.0 * kEpsilon;               // of |J_p|^2 without the projection: less is the rounding of the projection
constexpr double kAccurate = 1e4;  // kappa of the Gram matrix below which its solution has twelve digits at once

/// correction = inverse (right - ridge a), added to a, for right-hand side q; right is overwritten.  wanted: the same
/// for all members; a result that is not wanted is computed and dropped, so that teams side by side stay together.
template <typename Team>
VARPRO_PORTABLE void correct(const Team& team, const Tiny& s, int q, double* right, double* correction, double* a,
                             bool wanted) {
    const int n = s.i;
    for (int j = team.rank; j < n; j += team.size) right[j] -= s.ridge * a[j * s.k + q];
    team.sync();  // the right-hand side is ready
    for (int j = team.rank; j < n; j += team.size) {
        double value = 0.0;
        for (int l = 0; l < n; ++l) value += s.inverse[j * n + l] * right[l];
        correction[j] = value;
        if (wanted) a[j * s.k + q] += value;
    }
}

/// 1/2 (sum_j |phi_j| |a_j|)^2: the size of the model's terms, whose rounding the model has however much they cancel.
VARPRO_PORTABLE double size_of_terms(const Tiny& s, const double* a) {
    double total = 0.0;
    for (int j = 0; j < s.i; ++j) {
        double square = 0.0;
        for (int q = 0; q < s.k; ++q) square += a[j * s.k + q] * a[j * s.k + q];
        total += sqrt(s.products[lower_place(j, j)] * square);
    }
    return 0.5 * total * total;
}

/// natural (p): the change of each parameter that changes its columns by their own size, from the squares of the
/// columns in products and pairs; infinite where it changes none.
VARPRO_PORTABLE void natural_scales(const Tiny& s, double* natural) {
    for (int j = 0; j < s.p; ++j) natural[j] = 0.0;
    for (int c = 0; c < s.m; ++c) {
        const double size = s.products[lower_place(s.columns[c], s.columns[c])];
        if (size > 0.0) natural[s.parameters[c]] += s.squares[c] / size;
    }
    for (int j = 0; j < s.p; ++j) natural[j] = 1.0 / sqrt(natural[j]);
}

/// Whether D^T P D, a difference of scalar products, has kept the digits that a step needs.
VARPRO_PORTABLE bool keeps_digits(const Tiny& s) {
    for (int c = 0; c < s.m; ++c) {
        double left = s.pairs[lower_place(c, c)];
        for (int j = 0; j < s.i; ++j) left -= s.cross[c * s.i + j] * s.projected[c * s.i + j];
        if (left < kCancelled * s.squares[c]) return false;
    }
    return true;
}

/// The entry of the Gauss-Newton matrix that belongs to two columns of D.
VARPRO_PORTABLE double curvature(const Tiny& s, const double* a, int one, int other) {
    const int n = s.i, k = s.k, j = s.columns[one], l = s.columns[other];
    double both = s.pairs[symmetric_place(one, other)], weight = 0.0;
    for (int c = 0; c < n; ++c) both -= s.cross[one * n + c] * s.projected[other * n + c];
    for (int q = 0; q < k; ++q) weight += a[j * k + q] * a[l * k + q];
    double value = weight * both;
    if (s.kaufman) return value;
    double moments = 0.0;
    for (int q = 0; q < k; ++q) moments += s.moment[one * k + q] * s.moment[other * k + q];
    return value + s.inverse[j * n + l] * moments;
}

/// h (p, p), both triangles, and gradient (p), one row per member; see SmallFitsCall for the formulas.  If the
/// projection leaves nothing of a column but rounding, the diagonal is set to that rounding, so that a parameter
/// without effect stays where it is.
template <typename Team>
VARPRO_PORTABLE void assemble_normal(const Team& team, const Tiny& s, const double* a, double* h, double* gradient) {
    const int n = s.i, m = s.m, k = s.k, p = s.p;
    for (int c = team.rank; c < m; c += team.size)
        for (int j = 0; j < n; ++j) {
            double value = 0.0;
            for (int l = 0; l < n; ++l) value += s.inverse[j * n + l] * s.cross[c * n + l];
            s.projected[c * n + j] = value;
        }
    team.sync();  // the projected columns are ready
    for (int row = team.rank; row < p; row += team.size) {
        double slope = 0.0;
        for (int column = 0; column <= row; ++column) h[row * p + column] = 0.0;
        for (int one = 0; one < m; ++one) {
            if (s.parameters[one] != row) continue;
            for (int q = 0; q < k; ++q) slope -= s.moment[one * k + q] * a[s.columns[one] * k + q];
            for (int other = 0; other < m; ++other)
                if (s.parameters[other] <= row) h[row * p + s.parameters[other]] += curvature(s, a, one, other);
        }
        double whole = 0.0;  // the squared column of J without the projection
        for (int one = 0; one < m; ++one)
            for (int q = 0; q < (s.parameters[one] == row ? k : 0); ++q)
                whole += s.squares[one] * a[s.columns[one] * k + q] * a[s.columns[one] * k + q];
        h[row * p + row] = h[row * p + row] < kUnseen * whole ? kUnseen * whole : h[row * p + row];
        gradient[row] = slope;
        for (int column = 0; column < row; ++column) h[column * p + row] = h[row * p + column];
    }
}

}  // namespace
}  // namespace varpro
