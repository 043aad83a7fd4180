/// Linear least squares within bounds on the coefficients, by active sets on orthonormal columns.
///
///     min_a |y - Phi a|,  lower <= a <= upper,    z_j = a_j |phi_j|
///
/// The columns whose coefficient is inside its bounds have an orthonormal basis, Phi_inside S = Q R by Gram-Schmidt,
/// each column twice.  A column that comes in is projected once; when one leaves, those after it are projected again.
/// Each round minimises over the inner coefficients until none meets a bound, then lets in the column whose gradient is
/// most wrong.  Started from the set of a neighbouring problem, most problems need no exchange.
///
/// Lawson and Hanson, Solving Least Squares Problems (1974), ch. 23; Stark and Parker, Comput. Stat. 10 (1995) 129-141.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "aligned.hpp"
#include "dots.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr double kGradientRounding = 16.0;  // eps for each column, relative to the terms of a gradient
constexpr int kMostExchanges = 20;          // for each column; one or two are usual

struct ActiveSet {
    const std::int64_t rows;
    const int count;
    const double tolerance;       // the part of a unit column outside the others that is more than rounding
    const double *phi, *scale;    // columns, `rows` apart; 1 / |phi_j|
    const double *lower, *upper;  // of a
    Aligned<double> q;            // orthonormal columns
    Aligned<double> rest;         // y less the columns held at their bounds
    Aligned<double> residual;     // y - Phi a
    std::vector<double> r;        // upper triangle (count, count)
    std::vector<double> z, low, high;
    std::vector<int> order;  // the column of each column of q
    std::vector<char> inside;

    ActiveSet(std::int64_t rows, std::int64_t n, int count, const double* lower, const double* upper)
        : rows(rows),
          count(count),
          tolerance(static_cast<double>(n) * kEpsilon),
          phi(nullptr),
          scale(nullptr),
          lower(lower),
          upper(upper),
          q(count * rows),
          rest(rows),
          residual(rows),
          r(count * count),
          z(count),
          low(count),
          high(count),
          inside(count),
          goal_(count),
          part_(count),
          gradient_(count) {}

    /// New columns, of full rank; scale from their norms.
    void use(const double* columns, const double* reciprocal_norms) {
        phi = columns, scale = reciprocal_norms;
        for (int j = 0; j < count; ++j) low[j] = lower[j] / scale[j], high[j] = upper[j] / scale[j];
    }

    /// a (count, `stride` apart): where to begin if `warm`, then the solution.  False where a column adds nothing but
    /// rounding to those before it, or the exchanges do not end.
    bool solve(const double* y, double size, double* a, int stride, bool warm) {
        if (!(warm ? begin_at(a, stride) && exchange(y, size) : all_inside(y) || from_bounds(y, size))) return false;
        for (int j = 0; j < count; ++j) {
            const bool at_low = z[j] <= low[j];
            a[j * stride] = inside[j] ? std::clamp(z[j] * scale[j], lower[j], upper[j]) : at_low ? lower[j] : upper[j];
        }
        return true;
    }

    /// column less its part in Q, twice; the part is added to `part`, and the square of what is left returned.
    double project_out(double* column, double* part) { return project_out(column, size_of_set(), part, 1); }

    int size_of_set() const { return static_cast<int>(order.size()); }

    /// x = R^-T x
    void solve_transposed(double* x) const {
        for (int l = 0; l < size_of_set(); ++l) {
            for (int e = 0; e < l; ++e) x[l] -= r[e * count + l] * x[e];
            x[l] /= r[l * count + l];
        }
    }

  private:
    std::vector<double> goal_, part_, gradient_;

    double project_out(double* column, int width, double* part, int stride) {
        return subtract_projection(column, q.data(), rows, width, part_.data(), part, stride);
    }

    bool append(int j) {
        const int place = size_of_set();
        double* const column = q.data() + place * rows;
        for (std::int64_t row = 0; row < rows; ++row) column[row] = phi[j * rows + row] * scale[j];
        for (int l = 0; l < place; ++l) r[l * count + place] = 0.0;
        const double length = std::sqrt(project_out(column, place, r.data() + place, count));
        if (!(length > tolerance)) return false;
        for (std::int64_t row = 0; row < rows; ++row) column[row] /= length;
        r[place * count + place] = length;
        order.push_back(j);
        inside[j] = 1;
        return true;
    }

    bool remove(int place) {
        const std::vector<int> after(order.begin() + place + 1, order.end());
        inside[order[place]] = 0;
        order.resize(place);
        return std::all_of(after.begin(), after.end(), [this](int j) { return append(j); });
    }

    void clear() {
        order.clear();
        std::fill(inside.begin(), inside.end(), 0);
    }

    /// rest, and the minimum over the inner coefficients in goal_ with its residual.
    void minimise(const double* y) {
        std::copy_n(y, rows, rest.data());
        for (int j = 0; j < count; ++j) {
            if (inside[j] || z[j] == 0.0) continue;
            const double factor = z[j] * scale[j];
            subtract(rest.data(), phi + j * rows, rows, &factor, 1, rows);
        }
        std::copy(rest.begin(), rest.end(), residual.begin());
        const int width = size_of_set();
        std::fill_n(goal_.begin(), width, 0.0);
        project_out(residual.data(), goal_.data());
        for (int l = width - 1; l >= 0; --l) {
            for (int e = l + 1; e < width; ++e) goal_[l] -= r[l * count + e] * goal_[e];
            goal_[l] /= r[l * count + l];
        }
    }

    /// The unbounded solution, if it lies inside the bounds.
    bool all_inside(const double* y) {
        clear();
        for (int j = 0; j < count; ++j)
            if (!append(j)) return false;
        minimise(y);
        for (int j = 0; j < count; ++j)
            if (!(goal_[j] > low[j] && goal_[j] < high[j])) return false;
        std::copy(goal_.begin(), goal_.end(), z.begin());
        return true;
    }

    bool from_bounds(const double* y, double size) {
        clear();
        for (int j = 0; j < count; ++j) {
            z[j] = std::clamp(0.0, low[j], high[j]);
            if (z[j] > low[j] && z[j] < high[j] && !append(j)) return false;
        }
        return exchange(y, size);
    }

    bool begin_at(const double* a, int stride) {
        clear();
        for (int j = 0; j < count; ++j) {
            const double at = a[j * stride];
            z[j] = at <= lower[j] ? low[j] : at >= upper[j] ? high[j] : std::clamp(at / scale[j], low[j], high[j]);
            if (at > lower[j] && at < upper[j] && !append(j)) return false;
        }
        return true;
    }

    bool exchange(const double* y, double size) {
        int released = -1;
        for (int round = 0; round <= kMostExchanges * count; ++round) {
            bool refused = false;
            if (!settle(y, released, refused)) return false;
            double terms = size;
            for (int j = 0; j < count; ++j) terms += std::fabs(z[j]);
            dots(residual.data(), phi, rows, count, rows, gradient_.data());
            double worst = kGradientRounding * kEpsilon * count * terms;
            const int before = refused ? released : -1;  // rounding moved it straight out again
            released = -1;
            for (int j = 0; j < count; ++j) {
                if (inside[j] || j == before || low[j] == high[j]) continue;
                const double wrong = (z[j] <= low[j] ? 1.0 : -1.0) * gradient_[j] * scale[j];
                if (wrong > worst) worst = wrong, released = j;
            }
            if (released < 0) return true;
            if (!append(released)) return false;
        }
        return false;
    }

    /// The minimum over the inner coefficients; those that meet a bound on the way are held there.  refused: the one
    /// just released went the wrong way, which only rounding can cause.
    bool settle(const double* y, int released, bool& refused) {
        for (;;) {
            minimise(y);
            double least = 1.0;
            int hit = -1;
            for (int l = 0; l < size_of_set(); ++l) {
                const int j = order[l];
                const double step = goal_[l] - z[j];
                if (step == 0.0) continue;
                const double part = ((step < 0.0 ? low[j] : high[j]) - z[j]) / step;
                if (part <= least && (hit < 0 || part < least)) least = part, hit = l;
            }
            for (int l = 0; l < size_of_set(); ++l) {
                const int j = order[l];
                z[j] = hit < 0 ? goal_[l] : std::clamp(z[j] + least * (goal_[l] - z[j]), low[j], high[j]);
            }
            if (hit < 0) return true;
            const int j = order[hit];
            refused = refused || (j == released && least <= 0.0);
            z[j] = goal_[hit] < z[j] || (goal_[hit] == z[j] && z[j] <= low[j]) ? low[j] : high[j];
            if (!remove(hit)) return false;
        }
    }
};

}  // namespace
}  // namespace varpro::VARPRO_ISA
