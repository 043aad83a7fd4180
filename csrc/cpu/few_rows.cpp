// Four rows of a strip of the right matrix are brought into the cache and used for every row of the left one, two rows
// of the result at a time, so that each load serves two products.
#include "../kernels/few_rows.hpp"

#include <algorithm>

namespace varpro::VARPRO_ISA {
namespace {

/// Columns: four rows of right and the strip of the result stay in the second-level cache.
constexpr std::int64_t kStrip = 2048;

/// out and other += four rows of right, weighted by w and v.
void add_to_two(const double* __restrict right, std::int64_t stride, const double* w, const double* v,
                double* __restrict out, double* __restrict other, std::int64_t count) {
    const double *a = right, *b = a + stride, *c = b + stride, *d = c + stride;
    const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], v0 = v[0], v1 = v[1], v2 = v[2], v3 = v[3];
    for (std::int64_t j = 0; j < count; ++j) {
        out[j] = out[j] + w0 * a[j] + w1 * b[j] + w2 * c[j] + w3 * d[j];
        other[j] = other[j] + v0 * a[j] + v1 * b[j] + v2 * c[j] + v3 * d[j];
    }
}

void add_to_one(const double* __restrict right, std::int64_t stride, const double* w, double* __restrict out,
                std::int64_t count) {
    const double *a = right, *b = a + stride, *c = b + stride, *d = c + stride;
    const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
    for (std::int64_t j = 0; j < count; ++j) out[j] = out[j] + w0 * a[j] + w1 * b[j] + w2 * c[j] + w3 * d[j];
}

}  // namespace

void few_rows(const double* left, const double* right, double* out, std::int64_t m, std::int64_t n, std::int64_t k) {
    std::fill_n(out, m * k, 0.0);
    for (std::int64_t first = 0; first < k; first += kStrip) {
        const std::int64_t count = std::min(kStrip, k - first);
        double* const to = out + first;
        std::int64_t row = 0;
        for (; row + 4 <= n; row += 4) {
            const double* const from = right + row * k + first;
            const double* const w = left + row;
            std::int64_t i = 0;
            for (; i + 2 <= m; i += 2)
                add_to_two(from, k, w + i * n, w + (i + 1) * n, to + i * k, to + (i + 1) * k, count);
            if (i < m) add_to_one(from, k, w + i * n, to + i * k, count);
        }
        for (; row < n; ++row)
            for (std::int64_t i = 0; i < m; ++i)
                for (std::int64_t j = 0; j < count; ++j)
                    to[i * k + j] += left[i * n + row] * right[row * k + first + j];
    }
}

}  // namespace varpro::VARPRO_ISA
