/// Scalar products of whole columns in vectors; rows come in multiples of kUnroll.
#pragma once

#include <cstdint>

#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

using V = Lanes<double>;
constexpr std::int64_t kWidth = LanesOf<double>::count;
constexpr std::int64_t kUnroll = 4 * kWidth;

/// out[j] = x . columns[j] for C columns `stride` apart, over n rows, a multiple of kUnroll: x is read once.
template <int C>
void dots_of(const double* x, const double* columns, std::int64_t stride, std::int64_t n, double* out) {
    constexpr int chains = C <= 2 ? 4 : 2;  // of sums: a multiply-add takes four cycles, and two start in each
    V total[C][chains] = {};
    for (std::int64_t row = 0; row < n; row += chains * kWidth)
        for (int part = 0; part < chains; ++part) {
            const V v = load(x + row + part * kWidth);
            for (int j = 0; j < C; ++j) total[j][part] += v * load(columns + j * stride + row + part * kWidth);
        }
    for (int j = 0; j < C; ++j) {
        V all = total[j][0] + total[j][1];
        if constexpr (chains == 4) all += total[j][2] + total[j][3];
        out[j] = sum(all);
    }
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

/// column -= its part in `count` orthonormal columns of q, twice, so that what is left is orthogonal to rounding; that
/// part is added to `part`, `stride` apart.  scratch (count).  Returns the square of what is left.
inline double subtract_projection(double* column, const double* q, std::int64_t rows, std::int64_t count,
                                  double* scratch, double* part, std::int64_t stride) {
    double square = 0.0;
    for (int round = 0; round < 2; ++round) {
        dots(column, q, rows, count, rows, scratch);
        square = subtract(column, q, rows, scratch, count, rows);
        for (std::int64_t l = 0; l < count; ++l) part[l * stride] += scratch[l];
    }
    return square;
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
