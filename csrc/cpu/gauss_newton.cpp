// Large products are the vendor's; ours is the one pass over the triangle that turns D^T P D into H.
// Scratch is kept by the thread: fresh pages for 17 MB cost milliseconds.
#include "../kernels/gauss_newton.hpp"

#include <algorithm>
#include <vector>

#include "blas.hpp"

namespace varpro {

blas::Table blas::table;

namespace {

template <typename T>
T* scratch(std::size_t count) {
    thread_local std::vector<T> held;
    if (held.size() < count) held.resize(count);
    return held.data();
}

/// table[j, m] = square[j, columns[m]]: a unit's weights spread over all pairs, so that the pass below reads rows.
std::vector<double> spread(const double* square, const std::int32_t* columns, std::int64_t i, std::int64_t m) {
    std::vector<double> out(i * m);
    for (std::int64_t j = 0; j < i; ++j)
        for (std::int64_t c = 0; c < m; ++c) out[j * m + c] = square[j * i + columns[c]];
    return out;
}

/// One row of H from the row of D^T D (in T) and of z^T z (already in h).
template <typename T>
void weigh_row(const T* gram, double* h, const double* weight, const double* inverse, const double* gt, const double* g,
               std::int64_t row, std::int64_t m, std::int64_t k, double* rank_k) {
    const std::int64_t end = row + 1;
    for (std::int64_t c = 0; c < end; ++c) h[c] = weight[c] * (static_cast<double>(gram[c]) - h[c]);
    if (!inverse) return;
    std::fill_n(rank_k, end, 0.0);
    for (std::int64_t q = 0; q < k; ++q) {
        const double factor = g[row * k + q];
        const double* other = gt + q * m;
        for (std::int64_t c = 0; c < end; ++c) rank_k[c] += factor * other[c];
    }
    for (std::int64_t c = 0; c < end; ++c) h[c] += inverse[c] * rank_k[c];
}

template <typename T>
void weigh(const NormalMatrixCall& c, const T* gram) {
    const std::vector<double> weight = spread(c.aat, c.columns, c.i, c.m);
    std::vector<double> inverse, gt(c.m * c.k), rank_k(c.m);
    if (c.gram_inverse) inverse = spread(c.gram_inverse, c.columns, c.i, c.m);
    for (std::int64_t row = 0; row < c.m; ++row)
        for (std::int64_t q = 0; q < c.k; ++q) gt[q * c.m + row] = c.g[row * c.k + q];
    for (std::int64_t row = 0; row < c.m; ++row) {
        const std::int64_t j = c.columns[row] * c.m;
        weigh_row(gram + row * c.m, c.h + row * c.m, weight.data() + j, c.gram_inverse ? inverse.data() + j : nullptr,
                  gt.data(), c.g, row, c.m, c.k, rank_k.data());
    }
}

}  // namespace

void normal_matrix(const NormalMatrixCall& c) {
    char upper = 'U', plain = 'N';
    int m = static_cast<int>(c.m), n = static_cast<int>(c.n);
    const std::size_t entries = static_cast<std::size_t>(c.m) * c.m;
    blas::syrk('U', m, static_cast<int>(c.r), 1.0, c.z, 0.0, c.h);
    if (c.d_is_float) {
        float one = 1.0f, none = 0.0f;
        float* gram = scratch<float>(entries);
        blas::table.ssyrk(&upper, &plain, &m, &n, &one, static_cast<float*>(const_cast<void*>(c.d)), &m, &none, gram, &m);
        weigh(c, gram);
    } else {
        double* gram = scratch<double>(entries);
        blas::syrk('U', m, n, 1.0, static_cast<const double*>(c.d), 0.0, gram);
        weigh(c, gram);
    }
}

int damped_solve(const double* h, const double* diagonal, double lambda, const double* rhs, double* step,
                 std::int64_t p) {
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
    std::copy_n(x, p, step);
    return info;
}

void accumulate_gram(const double* phi, const double* y, double* gram, double* cross, std::int64_t n, std::int64_t i,
                     std::int64_t k) {
    const int rows = static_cast<int>(n), columns = static_cast<int>(i), outputs = static_cast<int>(k);
    blas::syrk('U', columns, rows, 1.0, phi, 1.0, gram);
    blas::gemm('N', 'T', outputs, columns, rows, 1.0, y, outputs, phi, columns, 1.0, cross, outputs);
}

}  // namespace varpro
