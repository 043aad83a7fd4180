/// One small problem, with its columns side by side in scratch that stays in the first-level cache: scalar products of
/// whole columns, then algebra on matrices of a few entries.  Rows are padded with zeros to whole vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "../kernels/small_fits.hpp"
#include "../kernels/small_fits_algebra.hpp"
#include "../kernels/small_fits_search.hpp"
#include "active_set.hpp"
#include "aligned.hpp"
#include "dots.hpp"
#include "small_fits_columns.hpp"
#include "spread.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr double kNearlyExact = 1e-8;  // |r|^2 / |y|^2 below which r shows the rounding of the Gram matrix

/// Sizes and options, without pointers yet.
inline Tiny tiny_of(const SmallFitsCall& c) {
    Tiny s{};
    s.i = static_cast<int>(c.i), s.k = static_cast<int>(c.k), s.m = static_cast<int>(c.m), s.p = static_cast<int>(c.p);
    s.ridge = c.ridge, s.kaufman = c.kaufman;
    s.columns = c.columns, s.parameters = c.parameters;
    return s;
}

/// Scratch of one problem; columns have `rows` entries, those beyond n are zero.
struct Problem {
    const SmallFitsCall& c;
    std::int64_t rows;
    Aligned<double> phi, d, y, t, residual, right, correction, held;  // held: what `tiny` points to
    Aligned<double> q, triangle;      // orthonormal columns and R^-1, where they are needed
    std::optional<ActiveSet> active;  // where the coefficients have bounds, with the scratch of small_fits_bounded.hpp
    Aligned<double> slopes;
    std::vector<double> turned, moments, steps;  // steps (i): of t in the rows of each column of a program
    std::vector<int> place;
    Tiny tiny;
    double size = 0.0;  // 1/2 |y|^2

    explicit Problem(const SmallFitsCall& call)
        : c(call),
          rows((call.n + kUnroll - 1) / kUnroll * kUnroll),
          phi(call.i * rows),
          d(call.m * rows),
          y(call.k * rows),
          t(rows),
          residual(call.k * rows),
          right(call.i),
          correction(call.i),
          tiny(tiny_of(call)) {
        const int sums = count_sums(tiny), matrices = count_matrices(tiny);
        held.resize(sums + matrices + tiny.m * tiny.i);
        place_sums(tiny, held.data());
        place_matrices(tiny, held.data() + sums);
        tiny.projected = held.data() + sums + matrices;
        if (!c.lower) return;
        active.emplace(rows, c.n, tiny.i, c.lower, c.upper);
        right.resize(std::max(c.i, c.p));
        place.resize(c.i);
    }

    void solve(std::int64_t b);
    void load_data(std::int64_t b);
    bool evaluate(const double* w, std::int64_t b, Point& out, const double* start = nullptr);
    bool evaluate_values(const double* w, std::int64_t b, Point& out);
    void take_columns(const double* values, const double* slopes);
    bool evaluate_columns(Point& out);
    void linearise(const Point& out);

  private:
    const double* weights = nullptr;
    bool loaded = false;  // t, where all problems share it
    bool powers_made = false;
    bool by_products = true;  // whether scalar products of columns are accurate enough at this w

    void gather(const double* from, std::int64_t count, double* to) const;
    void weigh(double* column) const;
    void scale_rows(double* column, double factor) const;
    void repeat_below(double* columns, std::int64_t half) const;
    void make_basis(const double* w, std::int64_t b);
    void make_products();
    double coefficients(double* a, double condition);
    void assemble(const Point& out);
    bool finite_basis() const;
    bool orthonormalise();
    double project_out(double* column, int count, double* part, int stride);
    double orthogonal_coefficients(double* a);
    void orthogonal_assemble(const Point& out);
    bool evaluate_within(const double* start, Point& out);
    bool full_rank();
    void begin_normal(const Point& out);
    void add_normal(int column, const Point& out);
    void end_normal(const Point& out);
};

/// (n, count) row-major into columns, times the weights.
void Problem::gather(const double* from, std::int64_t count, double* to) const {
    spread(from, c.n, count, rows, to);
    for (std::int64_t column = 0; weights && column < count; ++column) weigh(to + column * rows);
}

/// Columns (i, n) and (m, n) of Phi and D, already weighted.
void Problem::take_columns(const double* values, const double* slopes) {
    for (std::int64_t j = 0; j < c.i; ++j) std::copy_n(values + j * c.n, c.n, phi.data() + j * rows);
    for (std::int64_t s = 0; s < c.m; ++s) std::copy_n(slopes + s * c.n, c.n, d.data() + s * rows);
}

/// Times the weights; 0 where a row is left out, whatever the column is there.
void Problem::weigh(double* column) const {
    for (std::int64_t r = 0; r < c.n; ++r) column[r] = weights[r] == 0.0 ? 0.0 : column[r] * weights[r];
}

void Problem::scale_rows(double* column, double factor) const {
    for (std::int64_t r = 0; r < c.n; ++r) column[r] *= factor;
}

/// The second half of the columns is the first, half as many rows further down; what is above and below stays zero.
void Problem::repeat_below(double* columns, std::int64_t half) const {
    for (std::int64_t j = 0; j < half; ++j)
        std::copy_n(columns + j * rows, c.n / 2, columns + (half + j) * rows + c.n / 2);
}

/// y and t of a problem into scratch.
void Problem::load_data(std::int64_t b) {
    const std::int64_t number = c.problems[b];
    weights = c.weights ? c.weights + number * c.weights_stride : nullptr;
    gather(c.y + number * c.y_stride, c.k, y.data());
    double square = 0.0;
    dots(y.data(), y.data(), rows, 1, rows, &square);
    for (std::int64_t column = 1; column < c.k; ++column) {
        double next = 0.0;
        dots(y.data() + column * rows, y.data() + column * rows, rows, 1, rows, &next);
        square += next;
    }
    size = 0.5 * square;
    if (!c.t || (loaded && c.t_stride == 0)) return;
    std::copy_n(c.t + number * c.t_stride, c.n / c.parts, t.begin());
    measure_steps(c, t.data(), steps);
    loaded = true;
    powers_made = false;
}

void Problem::make_basis(const double* w, std::int64_t b) {
    if (c.phi) {
        gather(c.phi + b * c.n * c.i, c.i, phi.data());
        if (c.derivatives) gather(c.d + b * c.n * c.m, c.m, d.data());
        return;
    }
    const auto cleared = [this](double* column) {
        if (c.spans) std::fill_n(column, rows, 0.0);  // a projection in place may have spread what is not finite
        return column;
    };
    double* next = d.data();
    for (std::int64_t j = 0; j < c.i / c.parts; ++j) {
        const ProgramColumn& column = c.program[j];
        if (column.kind == ColumnKind::power && powers_made) continue;
        const double first = c.derivatives ? program_slope(c.links, column.first) : 0.0;
        const double second = c.derivatives ? program_slope(c.links, column.second) : 0.0;
        const Rows own = span_of(c, j);
        double* const by_first = first != 0.0 ? cleared(next) : nullptr;
        if (by_first) next += rows;
        double* const by_second = second != 0.0 ? cleared(next) : nullptr;
        if (by_second) next += rows;
        const std::int64_t number = c.problems[b];
        make_column(column, {t.data() + own.first, own.count, steps[j]},
                    program_parameter(c.links, w, column.first, number),
                    program_parameter(c.links, w, column.second, number), phi.data() + j * rows + own.first,
                    by_first ? by_first + own.first : nullptr, by_second ? by_second + own.first : nullptr);
        if (by_first && first != 1.0) scale_rows(by_first, first);
        if (by_second && second != 1.0) scale_rows(by_second, second);
    }
    if (c.parts == 2) {
        repeat_below(phi.data(), c.i / 2);
        if (c.derivatives) repeat_below(d.data(), c.m / 2);
    }
    powers_made = !weights;
    if (!weights) return;
    for (std::int64_t j = 0; j < c.i; ++j) weigh(phi.data() + j * rows);
    for (std::int64_t j = 0; j < (c.derivatives ? c.m : 0); ++j) weigh(d.data() + j * rows);
}

/// The Gram matrix.
void Problem::make_products() {
    for (std::int64_t j = 0; j < c.i; ++j) {
        const auto [first, count] = vectors_of(c, j);
        dots(phi.data() + j * rows + first, phi.data() + first, rows, j + 1, count, tiny.products + lower_place(j, 0));
    }
}

/// a and the residual: the solution, refined once where that may matter.  Returns the residual's square.
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
            correct(Alone{}, tiny, q, right.data(), correction.data(), a, true);
            square = subtract(r, phi.data(), rows, correction.data(), n, rows);
        }
        total += square;
    }
    return total;
}

/// The scalar products with D, and what follows from them.
void Problem::assemble(const Point& out) {
    for (std::int64_t s = 0; s < c.m; ++s) {
        const auto [first, count] = vectors_of(c, c.columns[s]);
        const double* column = d.data() + s * rows + first;
        dots(column, d.data() + first, rows, s + 1, count, tiny.pairs + lower_place(s, 0));
        dots(column, phi.data() + first, rows, c.i, count, tiny.cross + s * c.i);
        dots(column, residual.data() + first, rows, c.k, count, tiny.moment + s * c.k);
    }
    for (int s = 0; s < tiny.m; ++s) tiny.squares[s] = tiny.pairs[lower_place(s, s)];
    natural_scales(tiny, out.natural);
    assemble_normal(Alone{}, tiny, out.a, out.h, out.gradient);
}

/// False only if a scalar product overflows or is not a number, so this is checked first.
bool Problem::finite_basis() const {
    double total = 0.0;
    for (std::int64_t j = 0; j < c.i; ++j) total += tiny.products[lower_place(j, j)];
    if (std::isfinite(total)) return true;
    return std::all_of(phi.begin(), phi.end(), [](double x) { return std::isfinite(x); });
}

/// Computes what is known at w; returns whether Phi is finite and, to rounding, of full rank.  start : coefficients of
/// a nearby w, from which bounded ones are found faster; or null.
bool Problem::evaluate(const double* w, std::int64_t b, Point& out, const double* start) {
    if (active) {
        make_basis(w, b);
        make_products();
        out.finite = finite_basis();
        return evaluate_within(start, out);
    }
    const bool usable = evaluate_values(w, b, out);
    if (usable && c.derivatives) linearise(out);
    return usable;
}

/// The same without H and g, for coefficients without bounds.
bool Problem::evaluate_values(const double* w, std::int64_t b, Point& out) {
    make_basis(w, b);
    return evaluate_columns(out);
}

/// The same from the columns in `phi`.
bool Problem::evaluate_columns(Point& out) {
    make_products();
    out.finite = finite_basis();
    out.condition = invert_gram(Alone{}, tiny);
    by_products = out.condition < kGramLimit;
    double cost = 0.0;
    if (out.finite && by_products) {
        cost = coefficients(out.a, out.condition);
        by_products = cost > kNearlyExact * 2.0 * size || c.ridge > 0.0;
    }
    if (!out.finite || (!by_products && !orthonormalise())) {
        out.condition = kInfinite;
        return false;
    }
    if (!by_products) cost = orthogonal_coefficients(out.a);
    for (std::int64_t j = 0; j < c.i * c.k; ++j) cost += c.ridge * out.a[j] * out.a[j];
    out.cost = 0.5 * cost;
    out.terms = size_of_terms(tiny, out.a);
    return true;
}

/// H and g at the w of evaluate_values, from the columns of D in `d`.
void Problem::linearise(const Point& out) {
    if (by_products) {
        assemble(out);
        if (keeps_digits(tiny) || !orthonormalise()) return;
        orthogonal_coefficients(out.a);
    }
    orthogonal_assemble(out);
}

void Problem::solve(std::int64_t b) {
    load_data(b);
    const std::int64_t made = c.derivatives ? b : 0;
    Point point{
        c.a + b * c.i * c.k, c.h + made * c.p * c.p, c.gradient + made * c.p, c.natural + made * c.p, 0, 0, 0, true};
    if (evaluate(c.w + b * c.p, b, point)) c.cost[b] = point.cost, c.terms[b] = point.terms;
    c.condition[b] = point.condition;
}

}  // namespace
}  // namespace varpro::VARPRO_ISA

#include "small_fits_bounded.hpp"
#include "small_fits_orthogonal.hpp"
