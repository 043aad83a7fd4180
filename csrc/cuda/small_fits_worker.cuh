/// A team of lanes at work on one small problem: its columns by chunks of points in shared memory, the sums of their
/// products, and a trial step of its search.
#pragma once

#include <cmath>
#include <type_traits>

#include "../kernels/small_fits_columns.hpp"
#include "small_fits_table.cuh"

namespace varpro::cuda {
namespace {

/// A team at work on one problem.
template <typename Real, bool kGiven, bool kBoxed>
struct Worker {
    const SmallLaunch& call;
    const Plan& plan;
    const Product* table;
    double* own;  // the team's numbers
    WarpTeam team;
    Tiny tiny;
    std::int64_t b, number;  // of the problem, and of its data
    bool active;
    double step;  // of t where it is equidistant to rounding, else 0

    __device__ Worker(const SmallLaunch& call_, const Plan& plan_, unsigned char* shared)
        : call(call_),
          plan(plan_),
          table(reinterpret_cast<const Product*>(shared)),
          own(reinterpret_cast<double*>(shared + plan_.table_bytes) + threadIdx.x / plan_.lanes * plan_.numbers),
          team{static_cast<int>(threadIdx.x) % plan_.lanes, plan_.lanes},
          tiny{},
          b(0),
          number(0),
          active(false),
          step(0.0) {
        tiny.i = static_cast<int>(call.i), tiny.k = static_cast<int>(call.k);
        tiny.m = static_cast<int>(call.m), tiny.p = static_cast<int>(call.p);
        tiny.ridge = call.ridge, tiny.kaufman = call.kaufman;
        tiny.columns = call.columns, tiny.parameters = call.parameters;
        place_sums(tiny, own + plan.n_right + tiny.k);
        place_matrices(tiny, own + plan.matrices);
        tiny.projected = own + plan.stage;  // the stage is free when these are computed, and once they have been used
    }

    __device__ Real* stage() const { return reinterpret_cast<Real*>(own + plan.stage); }
    __device__ double* a() const { return own + plan.a; }
    __device__ State state() const { return State(own + plan.state, tiny.p, tiny.i * tiny.k); }
    __device__ double* state_outside() const { return call.states + (call.rows ? call.rows[b] : b) * call.stride; }

    /// The next problem from number `from` on, `every` apart, that runs.
    __device__ void take(std::int64_t from, std::int64_t every) {
        const int status = plan.n_state - kNumbers;  // the first of the numbers
        for (b = from; b < call.count && state_outside()[status] != 0.0;) b += every;
        active = b < call.count;
        if (!active) return;
        number = call.problems ? __ldg(call.problems + b) : b;
        const double* const outside = state_outside();
        for (int e = team.rank; e < plan.n_state; e += team.size) own[plan.state + e] = outside[e];
    }

    __device__ void put() const {
        double* const outside = state_outside();
        for (int e = team.rank; e < plan.n_state; e += team.size) outside[e] = own[plan.state + e];
    }

    /// step, by all teams of a warp; `fresh` are those whose t is new.
    __device__ void look_at_points(bool fresh) {
        if (kGiven || std::is_same_v<Real, float> || plan.points < kDirect || !__any_sync(kAll, fresh)) return;
        const double* const t = call.t + number * call.t_stride;
        double worst = 0.0, length = 0.0, last = 0.0;
        if (fresh) {
            const double first = __ldg(t);
            last = __ldg(t + plan.points - 1);
            length = (last - first) / static_cast<double>(plan.points - 1);
            for (std::int64_t r = team.rank; r < plan.points; r += team.size)
                worst = larger(worst, fabs(__ldg(t + r) - (first + length * static_cast<double>(r))));
            last = larger(fabs(first), fabs(last));
        }
        for (int with = team.size / 2; with > 0; with /= 2) worst = larger(worst, __shfl_xor_sync(kAll, worst, with));
        if (fresh) step = worst <= 4.0 * kEpsilon * last ? length : 0.0;
    }

    /// What the columns need of w, and then the factors of their derivatives, 0 where a parameter is held.
    __device__ void make_constants() const {
        if (kGiven) return;
        const double* const w = state().trial;
        for (int j = team.rank; j < plan.columns; j += team.size) {
            const ProgramColumn column = call.program[j];
            const double p = program_parameter(call.links, w, column.first, number);
            const double q = program_parameter(call.links, w, column.second, number);
            double* const constant = own + plan.constants + kConstants * j;
            const bool decay = column.kind == ColumnKind::decay, rate = column.kind == ColumnKind::rate;
            constant[0] = decay ? 1.0 / p : p;
            constant[1] = decay ? constant[0] * constant[0] : 1.0 / q;
            if (decay || rate) constant[2] = exp(-static_cast<double>(team.size) * step * constant[0]);
            constant[3] = program_slope(call.links, column.first);
            constant[4] = program_slope(call.links, column.second);
        }
    }

    /// An exponential on equidistant points is that of the lane's previous point times a factor; the first of a chunk
    /// is computed directly, so few roundings add up, and so is one that grows: that before it may have underflowed.
    static __device__ __forceinline__ Real exponential(const double* constant, double t, bool direct, Real before) {
        return direct || constant[2] > 1.0 ? exp(static_cast<Real>(-t * constant[0]))
                                           : before * static_cast<Real>(constant[2]);
    }

    /// Column j at a point of the stage, and its derivatives.
    __device__ __forceinline__ void make_value(const ProgramColumn& column, const double* constant, double t,
                                               bool direct, Real& phi, Real& first, Real& second) const {
        switch (column.kind) {
            case ColumnKind::power:
                phi = power(static_cast<Real>(t), column.exponent);
                return;
            case ColumnKind::decay:
                phi = exponential(constant, t, direct, phi);
                first = decay_slope(phi, static_cast<Real>(t), static_cast<Real>(constant[1]));
                return;
            case ColumnKind::rate:
                phi = exponential(constant, t, direct, phi);
                first = rate_slope(phi, static_cast<Real>(t));
                return;
            case ColumnKind::gaussian: {
                const Real inverse = static_cast<Real>(constant[1]);
                const Real u = static_cast<Real>((t - constant[0]) * constant[1]);
                phi = exp(gaussian_exponent(u));
                first = gaussian_by_centre(phi, u, inverse);
                second = gaussian_by_width(phi, u, inverse);
                return;
            }
            case ColumnKind::lorentzian: {
                const Real inverse = static_cast<Real>(constant[1]);
                const Real u = static_cast<Real>((t - constant[0]) * constant[1]);
                phi = lorentzian(u);
                first = lorentzian_by_centre(phi, u, inverse);
                second = lorentzian_by_width(phi, u, inverse);
                return;
            }
        }
    }

    __device__ __forceinline__ Real weight_at(std::int64_t at) const {
        if (!call.weights) return Real(1);
        return static_cast<Real>(number_at(call.weights, call.y_is_float, number * call.weights_stride + at));
    }

    /// Phi, and D if asked for, of `rows` points from `begin` on, times their weights.
    __device__ void stage_program(std::int64_t begin, int rows, bool with_d) const {
        const bool below = begin >= plan.points;
        const double* const t = call.t + number * call.t_stride + (below ? begin - plan.points : begin);
        int next = tiny.i + tiny.k;  // the next column of D
        for (int j = 0; j < plan.columns; ++j) {
            const ProgramColumn column = call.program[j];
            const double* const constant = own + plan.constants + kConstants * j;
            const bool by_first = constant[3] != 0.0, by_second = constant[4] != 0.0;
            const Real first_slope = static_cast<Real>(constant[3]), second_slope = static_cast<Real>(constant[4]);
            const int first_at = next, second_at = next + by_first;
            next = second_at + by_second;
            Real phi = Real(0), first = Real(0), second = Real(0);
            for (int r = team.rank; r < rows; r += team.size) {
                make_value(column, constant, __ldg(t + r), step == 0.0 || r < team.size, phi, first, second);
                Real* const row = stage() + r * plan.width;
                const Real weight = weight_at(begin + r);
                row[j] = phi * weight;
                if (with_d && by_first) row[first_at] = first * first_slope * weight;
                if (with_d && by_second) row[second_at] = second * second_slope * weight;
            }
        }
        if (call.parts == 1) return;
        place_parts(rows, 0, tiny.i / 2, below);
        if (with_d) place_parts(rows, tiny.i + tiny.k, tiny.m / 2, below);
    }

    /// To the place of their part, and zero to that of the other: columns of complex data, each row by its own lane.
    __device__ void place_parts(int rows, int first, int half, bool below) const {
        for (int r = team.rank; r < rows; r += team.size) {
            Real* const row = stage() + r * plan.width + first;
            for (int j = 0; j < half; ++j) {
                const Real value = row[j];
                row[j] = below ? Real(0) : value;
                row[half + j] = below ? value : Real(0);
            }
        }
    }

    /// The same from the caller's arrays.
    __device__ void stage_given(std::int64_t begin, int rows, bool with_d) const {
        for (int r = team.rank; r < rows; r += team.size) {
            Real* const row = stage() + r * plan.width;
            const std::int64_t point = b * call.n + begin + r;
            const Real weight = weight_at(begin + r);
            for (int j = 0; j < tiny.i; ++j)
                row[j] = weight * static_cast<Real>(number_at(call.phi, call.phi_is_float, point * tiny.i + j));
            for (int s = 0; s < (with_d ? tiny.m : 0); ++s)
                row[tiny.i + tiny.k + s] =
                    weight * static_cast<Real>(number_at(call.d, call.phi_is_float, point * tiny.m + s));
        }
    }

    /// R = Y - Phi A of the same points, each by the lane that computed the row.
    __device__ void stage_residual(std::int64_t begin, int rows) const {
        const double* const linear = a();
        for (int r = team.rank; r < rows; r += team.size) {
            Real* const row = stage() + r * plan.width;
            const Real weight = weight_at(begin + r);
            const std::int64_t at = number * call.y_stride + (begin + r) * tiny.k;
            for (int q = 0; q < tiny.k; ++q) {
                Real value = weight * static_cast<Real>(number_at(call.y, call.y_is_float, at + q));
                for (int j = 0; j < tiny.i; ++j) value -= row[j] * static_cast<Real>(linear[j * tiny.k + q]);
                row[tiny.i + q] = value;
            }
        }
    }

    /// Sums first..last of the table over all points.
    __device__ void sum_products(int first, int last, bool with_d) const {
        int rows = 0;
        for (std::int64_t begin = 0; begin < call.n; begin += rows) {
            const std::int64_t left = (begin < plan.points ? plan.points : call.n) - begin;  // of this part
            rows = left < plan.chunk ? static_cast<int>(left) : plan.chunk;
            if (active) {
                if (kGiven)
                    stage_given(begin, rows, with_d);
                else
                    stage_program(begin, rows, with_d);
                stage_residual(begin, rows);
            }
            team.sync();  // the rows are ready
            for (int e = first + team.rank; e < last; e += team.size) {
                const Real *one = stage() + table[e].one, *other = stage() + table[e].other;
                Real sum = Real(0);
#pragma unroll 4
                for (int r = 0; r < rows; ++r, one += plan.width, other += plan.width) sum += *one * *other;
                own[e] = (begin == 0 ? 0.0 : own[e]) + static_cast<double>(sum);
            }
            team.sync();  // the rows have been used
        }
    }

    /// a += the solution for the rest of the right-hand sides.
    __device__ void improve(bool wanted) const {
        for (int q = 0; q < tiny.k; ++q) correct(team, tiny, q, own + q * tiny.i, own + plan.correction, a(), wanted);
        team.sync();  // a is ready
    }

    /// All that is known at the trial of the state; only the first lane gets the cost.  size: 1/2 |y|^2.
    __device__ Point evaluate(double& size) const {
        constexpr double accurate = std::is_same_v<Real, float> ? 1.0 : kAccurate;
        make_constants();
        for (int e = team.rank; e < tiny.i * tiny.k; e += team.size) a()[e] = 0.0;
        team.sync();  // the constants and a are ready
        sum_products(0, plan.n_right + tiny.k + plan.n_products, false);
        size = 0.0;  // R is still Y
        for (int q = 0; q < tiny.k; ++q) size += 0.5 * own[plan.n_right + q];
        Point point{a(), own + plan.h, own + plan.gradient, own + plan.natural, 0.0, invert_gram(team, tiny),
                    0.0, true};
        const bool rough = active && !(point.condition < accurate), again = __any_sync(kAll, rough);
        improve(true);
        if (again) {
            sum_products(0, plan.n_right, false);
            improve(rough);
        }
        sum_products(plan.n_right + tiny.k + plan.n_products, plan.n_sums, true);
        for (int s = team.rank; s < tiny.m; s += team.size) tiny.squares[s] = tiny.pairs[lower_place(s, s)];
        assemble_normal(team, tiny, a(), point.h, point.gradient);
        const double* const squares = own + plan.n_sums - tiny.k;
        for (int q = 0; q < tiny.k; ++q) point.cost += squares[q];
        for (int e = 0; e < tiny.i * tiny.k; ++e) point.cost += tiny.ridge * a()[e] * a()[e];
        point.cost *= 0.5;
        double basis = 0.0;
        for (int j = 0; j < tiny.i; ++j) basis += tiny.products[lower_place(j, j)];
        point.finite = is_finite(basis);
        point.terms = size_of_terms(tiny, a());
        if (!keeps_digits(tiny)) point.condition = kInfinite;
        if (team.rank == 0) natural_scales(tiny, point.natural);
        team.sync();  // h and the gradient are ready, and the projected columns have been used
        return point;
    }

    /// One trial.
    __device__ void advance() const {
        double size = 0.0;
        const Point point = evaluate(size);
        if (team.rank != 0 || !active) return;
        double* const scratch = own + plan.stage;
        const int p = tiny.p;
        const Search<kBoxed> search{call.rules,      p, tiny.i * tiny.k, scratch,
                                    scratch + p * p, p, call.box,        scratch + p * (p + 1)};
        search.advance(point, size, state());
    }
};

}  // namespace
}  // namespace varpro::cuda
