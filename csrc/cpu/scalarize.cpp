// Quadratic and bilinear units.  Units are the SIMD lanes: one image's Z = S w is a product of a (side x side) matrix
// with a (side x units) one that stays in the first-level cache, a row by up to thirteen vectors of accumulators at a
// time.
#include "../kernels/scalarize.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "aligned.hpp"
#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

using V = Lanes<double>;
constexpr std::int64_t kLanes = LanesOf<double>::count;

std::int64_t padded(std::int64_t units) { return (units + kLanes - 1) / kLanes * kLanes; }

/// out[r, :] = sum_k a[r, k] w[k, :] for ROWS rows and VECTORS vectors of columns; a has strides (row, column).
template <int ROWS, int VECTORS>
void tile(const double* a, std::int64_t row, std::int64_t column, std::int64_t depth, const double* w,
          std::int64_t stride, double* out) {
    V sum[ROWS][VECTORS] = {};
    for (std::int64_t k = 0; k < depth; ++k)
        for (int v = 0; v < VECTORS; ++v) {
            const V wk = load(w + k * stride + v * kLanes);
            for (int r = 0; r < ROWS; ++r) sum[r][v] += a[r * row + k * column] * wk;
        }
    for (int r = 0; r < ROWS; ++r)
        for (int v = 0; v < VECTORS; ++v) store(out + r * stride + v * kLanes, sum[r][v]);
}

using Tile = void(const double*, std::int64_t, std::int64_t, std::int64_t, const double*, std::int64_t, double*);
constexpr std::int64_t kWidest = 13;  // accumulators that leave room for an operand among sixteen registers

template <int... V>
constexpr std::array<Tile*, kWidest> tiles(std::integer_sequence<int, V...>) {
    return {tile<1, V + 1>...};
}
constexpr std::array<Tile*, kWidest> kTiles = tiles(std::make_integer_sequence<int, kWidest>{});

/// One row by as many vectors at once as the registers hold: w then comes straight from the cache as an operand.
void row_of_tiles(const double* a, std::int64_t row, std::int64_t column, std::int64_t depth, const double* w,
                  std::int64_t stride, double* out) {
    const std::int64_t vectors = stride / kLanes, parts = (vectors + kWidest - 1) / kWidest;
    for (std::int64_t p = 0; p < parts; ++p) {  // as even as they come: no thin remainder
        const std::int64_t first = vectors * p / parts, last = vectors * (p + 1) / parts;
        kTiles[last - first - 1](a, row, column, depth, w + first * kLanes, stride, out + first * kLanes);
    }
}

/// out (rows, stride) = a (rows, depth) w (depth, stride); stride is padded units.
void multiply(const double* a, std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t depth,
              const double* w, std::int64_t stride, double* out) {
    for (std::int64_t r = 0; r < rows; ++r) row_of_tiles(a + r * row, row, column, depth, w, stride, out + r * stride);
}

/// (rows, units) with the units padded to whole vectors by zeros.
Aligned<double> pad(const double* w, std::int64_t rows, std::int64_t units, std::int64_t stride) {
    Aligned<double> out(rows * stride, 0.0);
    for (std::int64_t r = 0; r < rows; ++r) std::copy_n(w + r * units, units, out.begin() + r * stride);
    return out;
}

/// phi = [sigma(q) | 1]; q becomes sigma'(q).
void finish_values(double* q, double* phi, std::int64_t units, bool logistic) {
    activate_row(q, units, logistic);
    std::copy_n(q, units, phi);
    phi[units] = 1.0;
    for (std::int64_t i = 0; i < units; ++i) q[i] = slope_of(q[i], logistic);
}

template <typename T>
void write_rows(T* d, const double* z, const double* slope, std::int64_t rows, std::int64_t units,
                std::int64_t stride) {
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t i = 0; i < units; ++i) d[r * units + i] = static_cast<T>(z[r * stride + i] * slope[i]);
}

template <typename T>
void quadratic_with(const QuadraticCall& c, T* d) {
    const std::int64_t stride = padded(c.units), side = c.side, colours = c.planes > 1 ? c.planes : 0;
    const std::int64_t rows = side + colours + 1;
    const Aligned<double> w = pad(c.w, rows, c.units, stride);
    const double* g = w.data() + side * stride;
    Aligned<double> plane(c.planes * side * stride), z(rows * stride, 0.0), q(stride);
    std::fill(z.begin() + (rows - 1) * stride, z.end(), 1.0);  // dq/db
    for (std::int64_t n = 0; n < c.n; ++n) {
        for (std::int64_t p = 0; p < c.planes; ++p)
            multiply(c.s + (n * c.planes + p) * side * side, side, 1, side, side, w.data(), stride,
                     (colours ? plane.data() : z.data()) + p * side * stride);
        if (colours) {
            std::fill(z.begin(), z.begin() + (side + colours) * stride, 0.0);
            for (std::int64_t p = 0; p < colours; ++p)
                for (std::int64_t l = 0; l < side; ++l)
                    for (std::int64_t i = 0; i < stride; ++i) {
                        const double zc = plane[(p * side + l) * stride + i];
                        z[l * stride + i] += g[p * stride + i] * zc;
                        z[(side + p) * stride + i] += 0.5 * w[l * stride + i] * zc;
                    }
        }
        std::copy_n(w.data() + (rows - 1) * stride, stride, q.data());
        for (std::int64_t l = 0; l < side; ++l)
            for (std::int64_t i = 0; i < stride; ++i) q[i] += 0.5 * w[l * stride + i] * z[l * stride + i];
        finish_values(q.data(), c.phi + n * (c.units + 1), c.units, c.logistic);
        if (d) write_rows(d + n * rows * c.units, z.data(), q.data(), rows, c.units, stride);
    }
}

template <typename T>
void bilinear_with(const BilinearCall& c, T* d) {
    const std::int64_t stride = padded(c.units), rows = c.height + c.width + 1;
    const Aligned<double> w = pad(c.w, rows, c.units, stride);
    const double *u = w.data(), *v = u + c.height * stride, *b = v + c.width * stride;
    Aligned<double> z(rows * stride, 0.0), q(stride);
    std::fill(z.begin() + (rows - 1) * stride, z.end(), 1.0);
    for (std::int64_t n = 0; n < c.n; ++n) {
        const double* x = c.x + n * c.height * c.width;
        multiply(x, c.width, 1, c.height, c.width, v, stride, z.data());
        if (d) multiply(x, 1, c.width, c.width, c.height, u, stride, z.data() + c.height * stride);
        std::copy_n(b, stride, q.data());
        for (std::int64_t l = 0; l < c.height; ++l)
            for (std::int64_t i = 0; i < stride; ++i) q[i] += u[l * stride + i] * z[l * stride + i];
        finish_values(q.data(), c.phi + n * (c.units + 1), c.units, c.logistic);
        if (d) write_rows(d + n * rows * c.units, z.data(), q.data(), rows, c.units, stride);
    }
}

template <typename T>
void activate_rows(T* q, const T* bias, std::int64_t n, std::int64_t units, std::int64_t stride, bool logistic) {
    for (std::int64_t r = 0; r < n; ++r) {
        T* row = q + r * stride;
        for (std::int64_t i = 0; i < units; ++i) row[i] += bias[i];
        activate_row(row, units, logistic);
    }
}

}  // namespace

void quadratic(const QuadraticCall& call) {
    if (call.d_is_float)
        quadratic_with(call, static_cast<float*>(call.d));
    else
        quadratic_with(call, static_cast<double*>(call.d));
}

void bilinear(const BilinearCall& call) {
    if (call.d_is_float)
        bilinear_with(call, static_cast<float*>(call.d));
    else
        bilinear_with(call, static_cast<double*>(call.d));
}

void activate(double* q, const double* bias, std::int64_t n, std::int64_t units, std::int64_t stride, bool logistic) {
    activate_rows(q, bias, n, units, stride, logistic);
}
void activate(float* q, const float* bias, std::int64_t n, std::int64_t units, std::int64_t stride, bool logistic) {
    activate_rows(q, bias, n, units, stride, logistic);
}

}  // namespace varpro::VARPRO_ISA
