/// One small problem: its columns side by side in scratch that stays in the first-level cache: scalar products of
/// whole columns, then algebra on matrices of a few entries.  Rows are padded with zeros to whole vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../kernels/small_fits.hpp"
#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

using V = Lanes<double>;
constexpr std::int64_t kWidth = LanesOf<double>::count;
constexpr std::int64_t kUnroll = 4 * kWidth;

double sum(V v) {
    double total = 0.0;
    for (std::int64_t lane = 0; lane < kWidth; ++lane) total += v[lane];
    return total;
}

/// out[j] = x . columns[j] for C columns `stride` apart, over n rows, a multiple of kUnroll: x is read once.
template <int C>
void dots_of(const double* x, const double* columns, std::int64_t stride, std::int64_t n, double* out) {
    V even[C] = {}, odd[C] = {};
    for (std::int64_t row = 0; row < n; row += 2 * kWidth) {
        const V u = load(x + row), v = load(x + row + kWidth);
        for (int j = 0; j < C; ++j) {
            even[j] += u * load(columns + j * stride + row);
            odd[j] += v * load(columns + j * stride + row + kWidth);
        }
    }
    for (int j = 0; j < C; ++j) out[j] = sum(even[j] + odd[j]);
}

/// The same for any number of columns.
void dots(const double* x, const double* columns, std::int64_t stride, std::int64_t count, std::int64_t n,
          double* out) {
    std::int64_t j = 0;
    for (; j + 4 <= count; j += 4) dots_of<4>(x, columns + j * stride, stride, n, out + j);
    const double* rest = columns + j * stride;
    if (count - j == 3) dots_of<3>(x, rest, stride, n, out + j);
    if (count - j == 2) dots_of<2>(x, rest, stride, n, out + j);
    if (count - j == 1) dots_of<1>(x, rest, stride, n, out + j);
}

/// r -= sum_j factors[j] columns[j] in one pass; returns r . r.  Four vectors of rows stay in registers.
double subtract(double* r, const double* columns, std::int64_t stride, const double* factors, std::int64_t count,
                std::int64_t n) {
    V square{};
    for (std::int64_t row = 0; row < n; row += kUnroll) {
        V v0 = load(r + row), v1 = load(r + row + kWidth), v2 = load(r + row + 2 * kWidth),
          v3 = load(r + row + 3 * kWidth);
        const double* x = columns + row;
        for (std::int64_t j = 0; j < count; ++j, x += stride) {
            const V factor = V{} + factors[j];
            v0 -= factor * load(x);
            v1 -= factor * load(x + kWidth);
            v2 -= factor * load(x + 2 * kWidth);
            v3 -= factor * load(x + 3 * kWidth);
        }
        store(r + row, v0);
        store(r + row + kWidth, v1);
        store(r + row + 2 * kWidth, v2);
        store(r + row + 3 * kWidth, v3);
        square += (v0 * v0 + v1 * v1) + (v2 * v2 + v3 * v3);
    }
    return sum(square);
}

/// The points of a problem.
struct Grid {
    const double* t;
    std::int64_t n;
    double step;  // distance of neighbours where they are equidistant to rounding, else 0
};

constexpr std::int64_t kRecurrence = 256;    // points after which the recurrence starts afresh: 16 roundings at most
constexpr double kTinyExponential = 1e-290;  // below, products would be denormal, and slow

/// out = exp(-rate t), 16 at a time.  On an equidistant grid each 16 are the 16 before times exp(-16 step rate).
void exponentials(const Grid& grid, double rate, double* out) {
    const std::int64_t n = grid.n;
    if (grid.step == 0.0) {
        for (std::int64_t r = 0; r < n; ++r) out[r] = exp_lane(-grid.t[r] * rate);
        return;
    }
    const V factor = V{} + exp_lane(-static_cast<double>(kUnroll) * grid.step * rate), tiny = V{} + kTinyExponential;
    for (std::int64_t first = 0; first < n; first += kRecurrence) {
        const std::int64_t end = std::min(first + kRecurrence, n), direct = std::min(first + kUnroll, end);
        for (std::int64_t r = first; r < direct; ++r) out[r] = exp_lane(-grid.t[r] * rate);
        V v[4] = {};
        if (end - first >= kUnroll)
            for (int part = 0; part < 4; ++part) v[part] = load(out + first + part * kWidth);
        std::int64_t r = direct;
        for (; r + kUnroll <= end; r += kUnroll)
            for (int part = 0; part < 4; ++part) {
                v[part] *= factor;
                v[part] = v[part] < tiny ? V{} : v[part];
                store(out + r + part * kWidth, v[part]);
            }
        for (; r < end; ++r) out[r] = exp_lane(-grid.t[r] * rate);
    }
}

/// The step of points that are equidistant to rounding, else 0.
double equidistant_step(const double* t, std::int64_t n) {
    if (n < 2 * kUnroll) return 0.0;
    const double step = (t[n - 1] - t[0]) / static_cast<double>(n - 1);
    const double tolerance =
        4.0 * std::numeric_limits<double>::epsilon() * std::max(std::fabs(t[0]), std::fabs(t[n - 1]));
    double worst = 0.0;
    for (std::int64_t r = 0; r < n; ++r)
        worst = std::max(worst, std::fabs(t[r] - (t[0] + step * static_cast<double>(r))));
    return worst <= tolerance ? step : 0.0;
}

/// A column of Phi and its derivatives (first, second parameter), which may be null.
void make_column(const ProgramColumn& column, const Grid& grid, const double* w, double* phi, double* first,
                 double* second) {
    const double* t = grid.t;
    const std::int64_t n = grid.n;
    const double p = column.first < 0 ? 1.0 : w[column.first], q = column.second < 0 ? 1.0 : w[column.second];
    switch (column.kind) {
        case ColumnKind::power:  // does not depend on w
            std::fill_n(phi, n, 1.0);
            for (std::int32_t e = 0; e < column.exponent; ++e)
                for (std::int64_t r = 0; r < n; ++r) phi[r] *= t[r];
            return;
        case ColumnKind::decay: {
            const double rate = 1.0 / p, square = rate * rate;
            exponentials(grid, rate, phi);
            if (first)
                for (std::int64_t r = 0; r < n; ++r) first[r] = phi[r] * (t[r] * square);
            return;
        }
        case ColumnKind::rate:
            exponentials(grid, p, phi);
            if (first)
                for (std::int64_t r = 0; r < n; ++r) first[r] = -phi[r] * t[r];
            return;
        case ColumnKind::gaussian: {
            const double inverse = 1.0 / q;
            for (std::int64_t r = 0; r < n; ++r) {
                const double u = (t[r] - p) * inverse;
                phi[r] = exp_lane(-0.5 * u * u);
            }
            if (first)
                for (std::int64_t r = 0; r < n; ++r) {
                    const double u = (t[r] - p) * inverse;
                    first[r] = phi[r] * u * inverse;
                    second[r] = phi[r] * u * u * inverse;
                }
            return;
        }
        case ColumnKind::lorentzian: {
            const double inverse = 1.0 / q;
            for (std::int64_t r = 0; r < n; ++r) {
                const double u = (t[r] - p) * inverse;
                phi[r] = 1.0 / (1.0 + u * u);
            }
            if (first)
                for (std::int64_t r = 0; r < n; ++r) {
                    const double u = (t[r] - p) * inverse, slope = 2.0 * phi[r] * phi[r] * inverse * u;
                    first[r] = slope;
                    second[r] = slope * u;
                }
            return;
        }
    }
}

/// What is known at one w; the arrays are the caller's.
struct Point {
    double *a, *h, *gradient;
    double cost, condition;
};

/// Scratch of one problem; columns have `rows` entries, those beyond n are zero.
struct Problem {
    const SmallFitsCall& c;
    std::int64_t rows;
    std::vector<double> phi, d, y, t, residual, gram, inverse, right, correction, cross, projected, moment, pairs;

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
    std::vector<double>& scale = correction;  // i k >= i entries, free until the coefficients
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
