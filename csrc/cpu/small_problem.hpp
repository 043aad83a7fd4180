/// One small problem: its columns side by side in scratch that stays in the first-level cache: scalar products of
/// whole columns, then algebra on matrices of a few entries.  Rows are padded with zeros to whole vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "../kernels/small_fits.hpp"
#include "aligned.hpp"
#include "columns.hpp"
#include "dots.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// What is known at one w; the arrays are the caller's.
struct Point {
    double *a, *h, *gradient;
    double cost, condition;
};

/// Scratch of one problem; columns have `rows` entries, those beyond n are zero.
struct Problem {
    const SmallFitsCall& c;
    std::int64_t rows;
    Aligned<double> phi, d, y, t, residual, gram, inverse, right, correction, cross, projected, moment, pairs;

    explicit Problem(const SmallFitsCall& call)
        : c(call),
          rows((call.n + kUnroll - 1) / kUnroll * kUnroll),
          phi(call.i * rows),
          d(call.m * rows),
          y(call.k * rows),
          t(rows),
          residual(call.k * rows),
          gram(call.i * call.i),
          inverse(call.i * call.i),
          right(call.i * call.k),
          correction(call.i * call.k),
          cross(call.m * call.i),
          projected(call.m * call.i),
          moment(call.m * call.k),
          pairs(call.m * call.m) {}

    void solve(std::int64_t b);
    void load_data(std::int64_t b);
    bool evaluate(const double* w, std::int64_t b, Point& out);

  private:
    const double* weights = nullptr;
    double step = 0.0;    // of t
    bool loaded = false;  // t, where all problems share it
    bool powers_made = false;

    void gather(const double* from, std::int64_t count, double* to) const;
    void make_basis(const double* w, std::int64_t b);
    double factor();
    double coefficients(double* a, double condition);
    void assemble(const double* a, double* h, double* gradient);
};

/// (n, count) row-major into columns, times the weights.
void Problem::gather(const double* from, std::int64_t count, double* to) const {
    for (std::int64_t column = 0; column < count; ++column) {
        double* out = to + column * rows;
        for (std::int64_t r = 0; r < c.n; ++r) out[r] = from[r * count + column];
        if (weights)
            for (std::int64_t r = 0; r < c.n; ++r) out[r] *= weights[r];
    }
}

/// y and t of a problem into scratch.
void Problem::load_data(std::int64_t b) {
    const std::int64_t number = c.problems[b];
    weights = c.weights ? c.weights + number * c.weights_stride : nullptr;
    gather(c.y + number * c.y_stride, c.k, y.data());
    if (c.phi || (loaded && c.t_stride == 0)) return;
    std::copy_n(c.t + number * c.t_stride, c.n, t.begin());
    step = equidistant_step(t.data(), c.n);
    loaded = true;
    powers_made = false;
}

void Problem::make_basis(const double* w, std::int64_t b) {
    if (c.phi) {
        gather(c.phi + b * c.n * c.i, c.i, phi.data());
        if (c.derivatives) gather(c.d + b * c.n * c.m, c.m, d.data());
        return;
    }
    double* next = d.data();
    for (std::int64_t j = 0; j < c.i; ++j) {
        const ProgramColumn& column = c.program[j];
        if (column.kind == ColumnKind::power && powers_made) continue;
        double* first = c.derivatives && column.first >= 0 ? next : nullptr;
        if (first) next += rows;
        double* second = c.derivatives && column.second >= 0 ? next : nullptr;
        if (second) next += rows;
        make_column(column, {t.data(), c.n, step}, w, phi.data() + j * rows, first, second);
    }
    powers_made = !weights;
    if (!weights) return;
    for (std::int64_t j = 0; j < c.i; ++j)
        for (std::int64_t r = 0; r < c.n; ++r) phi[j * rows + r] *= weights[r];
    for (std::int64_t j = 0; j < (c.derivatives ? c.m : 0); ++j)
        for (std::int64_t r = 0; r < c.n; ++r) d[j * rows + r] *= weights[r];
}

/// inverse = (Phi^T Phi + ridge I)^-1 by Cholesky of the Gram matrix of unit columns; returns its kappa_1.
double Problem::factor() {
    const std::int64_t n = c.i;
    for (std::int64_t j = 0; j < n; ++j) {
        dots(phi.data() + j * rows, phi.data(), rows, j + 1, rows, &gram[j * n]);
        gram[j * n + j] += c.ridge;
    }
    double norm = 0.0, inverse_norm = 0.0;
    Aligned<double>& scale = correction;  // i k >= i entries, free until the coefficients
    for (std::int64_t j = 0; j < n; ++j) {
        const double diagonal = gram[j * n + j];
        if (!(diagonal > 0.0) || !std::isfinite(diagonal)) return std::numeric_limits<double>::infinity();
        scale[j] = 1.0 / std::sqrt(diagonal);
    }
    for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t l = 0; l <= j; ++l) gram[l * n + j] = gram[j * n + l] *= scale[j] * scale[l];
    for (std::int64_t j = 0; j < n; ++j) {
        double total = 0.0;
        for (std::int64_t l = 0; l < n; ++l) total += std::fabs(gram[j * n + l]);
        norm = std::max(norm, total);
    }
    for (std::int64_t j = 0; j < n; ++j)  // Cholesky in the lower triangle
        for (std::int64_t l = 0; l <= j; ++l) {
            double value = gram[j * n + l];
            for (std::int64_t q = 0; q < l; ++q) value -= gram[j * n + q] * gram[l * n + q];
            if (l < j)
                gram[j * n + l] = value / gram[l * n + l];
            else if (value > 0.0)
                gram[j * n + j] = std::sqrt(value);
            else
                return std::numeric_limits<double>::infinity();
        }
    for (std::int64_t column = 0; column < n; ++column) {  // the inverse, column by column
        double* x = &inverse[column * n];
        for (std::int64_t j = 0; j < n; ++j) {
            double value = j == column ? 1.0 : 0.0;
            for (std::int64_t q = 0; q < j; ++q) value -= gram[j * n + q] * x[q];
            x[j] = value / gram[j * n + j];
        }
        for (std::int64_t j = n - 1; j >= 0; --j) {
            double value = x[j];
            for (std::int64_t q = j + 1; q < n; ++q) value -= gram[q * n + j] * x[q];
            x[j] = value / gram[j * n + j];
        }
        double total = 0.0;
        for (std::int64_t j = 0; j < n; ++j) total += std::fabs(x[j]);
        inverse_norm = std::max(inverse_norm, total);
        for (std::int64_t j = 0; j < n; ++j) x[j] *= scale[j] * scale[column];
    }
    return norm * inverse_norm;
}

constexpr double kAccurate = 1e4;  // kappa of the Gram matrix below which its solution has twelve digits at once

/// a and the residual: the solution, and once more for what the first left over where that may matter.  Returns the
/// residual's square.
double Problem::coefficients(double* a, double condition) {
    const std::int64_t n = c.i;
    const int rounds = condition < kAccurate ? 1 : 2;
    double total = 0.0;
    std::copy(y.begin(), y.end(), residual.begin());
    std::fill_n(a, n * c.k, 0.0);
    for (std::int64_t q = 0; q < c.k; ++q) {
        double* r = residual.data() + q * rows;
        double square = 0.0;
        for (int round = 0; round < rounds; ++round) {
            dots(r, phi.data(), rows, n, rows, right.data());
            for (std::int64_t j = 0; j < n; ++j) right[j] -= c.ridge * a[j * c.k + q];
            for (std::int64_t j = 0; j < n; ++j) {
                double value = 0.0;
                for (std::int64_t l = 0; l < n; ++l) value += inverse[j * n + l] * right[l];
                correction[j] = value;
                a[j * c.k + q] += value;
            }
            square = subtract(r, phi.data(), rows, correction.data(), n, rows);
        }
        total += square;
    }
    return total;
}

void Problem::assemble(const double* a, double* h, double* gradient) {
    const std::int64_t n = c.i, m = c.m, k = c.k, p = c.p;
    std::fill_n(h, p * p, 0.0);
    std::fill_n(gradient, p, 0.0);
    for (std::int64_t s = 0; s < m; ++s) {
        const double* column = d.data() + s * rows;
        dots(column, d.data(), rows, s + 1, rows, &pairs[s * m]);
        dots(column, phi.data(), rows, n, rows, &cross[s * n]);
        dots(column, residual.data(), rows, k, rows, &moment[s * k]);
        for (std::int64_t j = 0; j < n; ++j) {
            double value = 0.0;
            for (std::int64_t l = 0; l < n; ++l) value += inverse[j * n + l] * cross[s * n + l];
            projected[s * n + j] = value;
        }
    }
    for (std::int64_t s = 0; s < m; ++s) {
        const std::int64_t js = c.columns[s], ps = c.parameters[s];
        for (std::int64_t q = 0; q < k; ++q) gradient[ps] -= moment[s * k + q] * a[js * k + q];
        for (std::int64_t u = 0; u <= s; ++u) {
            const std::int64_t ju = c.columns[u], pu = c.parameters[u];
            double both = pairs[s * m + u], weight = 0.0;
            for (std::int64_t j = 0; j < n; ++j) both -= cross[s * n + j] * projected[u * n + j];
            for (std::int64_t q = 0; q < k; ++q) weight += a[js * k + q] * a[ju * k + q];
            double value = weight * both;
            if (!c.kaufman) {
                double moments = 0.0;
                for (std::int64_t q = 0; q < k; ++q) moments += moment[s * k + q] * moment[u * k + q];
                value += inverse[js * n + ju] * moments;
            }
            h[ps * p + pu] += value;
            if (u != s) h[pu * p + ps] += value;
        }
    }
}

/// False where the Gram matrix could not be factored: only the condition is then set.
bool Problem::evaluate(const double* w, std::int64_t b, Point& out) {
    make_basis(w, b);
    out.condition = factor();
    if (!std::isfinite(out.condition)) return false;
    double cost = coefficients(out.a, out.condition);
    for (std::int64_t j = 0; j < c.i * c.k; ++j) cost += c.ridge * out.a[j] * out.a[j];
    out.cost = 0.5 * cost;
    if (c.derivatives) assemble(out.a, out.h, out.gradient);
    return true;
}

void Problem::solve(std::int64_t b) {
    load_data(b);
    const std::int64_t made = c.derivatives ? b : 0;
    Point point{c.a + b * c.i * c.k, c.h + made * c.p * c.p, c.gradient + made * c.p, 0.0, 0.0};
    if (evaluate(c.w + b * c.p, b, point)) c.cost[b] = point.cost;
    c.condition[b] = point.condition;
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
