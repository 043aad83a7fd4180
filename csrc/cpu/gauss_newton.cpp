// Large products are left to BLAS; our own code is the one pass over the triangle that turns D^T P D into H.  Each
// thread keeps its scratch: fresh pages for 17 MB cost milliseconds.
#include "../kernels/gauss_newton.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "aligned.hpp"
#include "blas.hpp"
#include "instruction_set.hpp"
#include "tiny_cholesky.hpp"

namespace varpro {

blas::Table blas::table;

namespace {

template <typename T>
T* scratch(std::size_t count) {
    thread_local Aligned<T> held;
    if (held.size() < count) held.resize(count);
    return held.data();
}

/// table[j, m] = square[j, columns[m]]: a unit's weights spread over all pairs, so that the pass below reads rows.
Aligned<double> spread(const double* square, const std::int32_t* columns, std::int64_t i, std::int64_t m) {
    Aligned<double> out(i * m);
    for (std::int64_t j = 0; j < i; ++j)
        for (std::int64_t c = 0; c < m; ++c) out[j * m + c] = square[j * i + columns[c]];
    return out;
}

template <typename T>
void weigh(const NormalMatrixCall& c, const T* gram) {
    const Aligned<double> weight = spread(c.aat, c.columns, c.i, c.m);
    Aligned<double> inverse, gt(c.m * c.k);
    if (c.gram_inverse) inverse = spread(c.gram_inverse, c.columns, c.i, c.m);
    for (std::int64_t row = 0; row < c.m; ++row)
        for (std::int64_t q = 0; q < c.k; ++q) gt[q * c.m + row] = c.g[row * c.k + q];
    const WeighCall call{
        weight.data(), c.gram_inverse ? inverse.data() : nullptr, c.g, gt.data(), c.columns, c.h, c.m, c.k};
    VARPRO_DISPATCH(weigh(call, gram));
}

constexpr double kRefined = 1e-10;  // relative residual at which a refined solution is as good as a double one
constexpr int kRefinements = 8;

/// x = scale o S^-1 (scale o r) with S the factor in single precision.
void solve_single(float* factor, const std::vector<double>& scale, const std::vector<double>& r,
                  std::vector<float>& x) {
    char upper = 'U';
    int size = static_cast<int>(r.size()), one = 1, info = 0;
    for (std::size_t i = 0; i < r.size(); ++i) x[i] = static_cast<float>(scale[i] * r[i]);
    blas::table.spotrs(&upper, &size, &one, factor, &size, x.data(), &size, &info);
}

/// Whether step has been found by a factorisation in single precision and refinement in double.
bool damped_solve_single(const double* h, const double* diagonal, double lambda, const double* rhs, double* step,
                         std::int64_t p) {
    char upper = 'U';
    int size = static_cast<int>(p), one = 1, info = 0;
    float* work = scratch<float>(static_cast<std::size_t>(p) * p);
    std::vector<double> scale(p), x(p, 0.0), r(rhs, rhs + p);
    std::vector<float> correction(p);
    for (std::int64_t i = 0; i < p; ++i) {
        const double entry = h[i * p + i] + lambda * diagonal[i];
        if (!(entry > 0.0)) return false;
        scale[i] = 1.0 / std::sqrt(entry);
    }
    double largest = 0.0;
    for (std::int64_t i = 0; i < p; ++i) largest = std::max(largest, std::fabs(scale[i] * rhs[i]));
    if (!(largest > 0.0) || !std::isfinite(largest)) return false;
    for (std::int64_t row = 0; row < p; ++row) {
        for (std::int64_t c = 0; c < row; ++c)
            work[row * p + c] = static_cast<float>(h[row * p + c] * scale[row] * scale[c]);
        work[row * p + row] = 1.0f;
    }
    blas::table.spotrf(&upper, &size, work, &size, &info);
    if (info != 0) return false;
    double before = largest;
    for (int round = 0; round < kRefinements; ++round) {
        // the right-hand side is scaled to order one, so that single precision neither over- nor underflows
        for (double& value : r) value /= before;
        solve_single(work, scale, r, correction);
        for (std::int64_t i = 0; i < p; ++i) x[i] += before * scale[i] * static_cast<double>(correction[i]);
        double minus = -1.0, plus = 1.0;
        std::copy_n(rhs, p, r.begin());
        blas::table.dsymv(&upper, &size, &minus, const_cast<double*>(h), &size, x.data(), &one, &plus, r.data(), &one);
        double after = 0.0;
        for (std::int64_t i = 0; i < p; ++i) {
            r[i] -= lambda * diagonal[i] * x[i];
            const double size = std::fabs(scale[i] * r[i]);
            if (!(size <= after)) after = size;  // keeps a NaN, which std::max would drop
        }
        if (after <= kRefined * largest) {
            std::copy_n(x.begin(), p, step);
            return true;
        }
        if (!(after < 0.5 * before)) return false;
        before = after;
    }
    return false;
}

}  // namespace

void normal_matrix(const NormalMatrixCall& c) {
    if (c.m == 0) return;
    char upper = 'U', plain = 'N';
    int m = static_cast<int>(c.m), n = static_cast<int>(c.n);
    const std::size_t entries = static_cast<std::size_t>(c.m) * c.m;
    blas::syrk('U', m, static_cast<int>(c.r), 1.0, c.z, 0.0, c.h);
    if (c.d_is_float) {
        float one = 1.0f, none = 0.0f;
        float* gram = scratch<float>(entries);
        blas::table.ssyrk(&upper, &plain, &m, &n, &one, static_cast<float*>(const_cast<void*>(c.d)), &m, &none, gram,
                          &m);
        weigh(c, gram);
    } else {
        double* gram = scratch<double>(entries);
        blas::syrk('U', m, n, 1.0, static_cast<const double*>(c.d), 0.0, gram);
        weigh(c, gram);
    }
}

int damped_solve(const double* h, const double* diagonal, double lambda, const double* rhs, double* step,
                 std::int64_t p, bool single) {
    if (p <= kTiny) return damped_solve_tiny(h, diagonal, lambda, rhs, step, p);
    if (single && damped_solve_single(h, diagonal, lambda, rhs, step, p)) return 0;
    char upper = 'U';
    int size = static_cast<int>(p), one = 1, info = 0;
    double* work = scratch<double>(static_cast<std::size_t>(p) * p + p);
    for (std::int64_t row = 0; row < p; ++row) {
        std::copy_n(h + row * p, row + 1, work + row * p);
        work[row * p + row] += lambda * diagonal[row];
    }
    blas::table.dpotrf(&upper, &size, work, &size, &info);
    if (info != 0) return info;
    double* x = work + p * p;
    std::copy_n(rhs, p, x);
    blas::table.dpotrs(&upper, &size, &one, work, &size, x, &size, &info);
    if (!all_finite(x, p)) return size;
    std::copy_n(x, p, step);
    return info;
}

}  // namespace varpro
