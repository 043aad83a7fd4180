// Quadratic and bilinear units.  Units are the SIMD lanes: one image's Z = S w is the product of a (side x side) matrix
// with a (side x units) one that stays in the first-level cache, computed one row by up to thirteen vectors of
// accumulators at a time.
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

/// One row by as many vectors at once as the registers hold: w is then an operand read directly from the cache.
void row_of_tiles(const double* a, std::int64_t row, std::int64_t column, std::int64_t depth, const double* w,
                  std::int64_t stride, double* out) {
    const std::int64_t vectors = stride / kLanes, parts = (vectors + kWidest - 1) / kWidest;
    for (std::int64_t p = 0; p < parts; ++p) {  // parts of nearly equal size: no thin remainder
        const std::int64_t first = vectors * p / parts, last = vectors * (p + 1) / parts;
        kTiles[last - first - 1](a, row, column, depth, w + first * kLanes, stride, out + first * kLanes);
    }
}

/// out (rows, stride) = a (rows, depth) w (depth, stride); stride is padded units.
void multiply(const double* a, std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t depth,
              const double* w, std::int64_t stride, double* out) {
    for (std::int64_t r = 0; r < rows; ++r) row_of_tiles(a + r * row, row, column, depth, w, stride, out + r * stride);
}

/// (rows, units) with the units padded by zeros to whole vectors.
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

/// The image at `place` of a problem's images in double; converted into `held` if its pixels have another type.
const double* pixels_of(const ScalarizeCall& c, std::int64_t problem, std::int64_t place, Aligned<double>& held) {
    const std::int64_t size = c.planes * c.height * c.width, at = problem * c.n + place;
    const std::int64_t first = (c.index ? c.index[at] : at) * size;
    if (c.pixel == Pixel::f64) return static_cast<const double*>(c.images) + first;
    const auto* const bytes = static_cast<const std::uint8_t*>(c.images) + first;
    const auto* const floats = static_cast<const float*>(c.images) + first;
    held.resize(size);
    if (c.pixel == Pixel::u8)
        for (std::int64_t p = 0; p < size; ++p) held[p] = (1.0 / 255.0) * bytes[p];
    else
        for (std::int64_t p = 0; p < size; ++p) held[p] = floats[p];
    return held.data();
}

/// s = x + x^T
void add_transpose(const double* x, std::int64_t side, double* s) {
    for (std::int64_t k = 0; k < side; ++k)
        for (std::int64_t l = 0; l <= k; ++l) s[k * side + l] = s[l * side + k] = x[k * side + l] + x[l * side + k];
}

/// What a pass over the images of one problem needs of its weights, and its scratch: z holds the columns of D of one
/// image without the slope, the last of them 1, dq/db.
struct Pass {
    std::int64_t stride, rows;
    Aligned<double> w, z, q, image;

    Pass(const ScalarizeCall& c, std::int64_t problem, std::int64_t rows_)
        : stride(padded(c.units)),
          rows(rows_),
          w(pad(static_cast<const double*>(c.w) + problem * rows * c.units, rows, c.units, stride)),
          z(rows * stride, 0.0),
          q(stride) {
        std::fill(z.begin() + (rows - 1) * stride, z.end(), 1.0);
    }

    const double* w_row(std::int64_t row) const { return w.data() + row * stride; }

    /// Phi and D of image n from z; q = b + sum_l w_l z_l over the first `summed` rows, or half of that sum.
    template <bool half, typename T>
    void finish(const ScalarizeCall& c, std::int64_t n, std::int64_t summed, T* d) {
        const double *const weights = w.data(), *const columns = z.data();  // which no store below can change
        double* const sums = q.data();
        const std::int64_t width = stride;
        std::copy_n(w_row(rows - 1), width, sums);
        for (std::int64_t l = 0; l < summed; ++l)
            for (std::int64_t i = 0; i < width; ++i)
                sums[i] += (half ? 0.5 * weights[l * width + i] : weights[l * width + i]) * columns[l * width + i];
        finish_values(q.data(), static_cast<double*>(c.phi) + n * (c.units + 1), c.units, c.logistic);
        if (d) write_rows(d + n * rows * c.units, z.data(), q.data(), rows, c.units, stride);
    }
};

template <typename T>
void quadratic_with(const ScalarizeCall& c, std::int64_t problem, T* d) {
    const std::int64_t side = c.height, colours = c.planes > 1 ? c.planes : 0;
    Pass pass(c, problem, side + colours + 1);
    const std::int64_t stride = pass.stride;
    const double *w = pass.w.data(), *g = pass.w_row(side);
    Aligned<double> twice(c.symmetric ? side * stride : 0);  // S w = X (2 w), to the last bit
    for (std::size_t e = 0; e < twice.size(); ++e) twice[e] = 2.0 * w[e];
    Aligned<double> s(side * side), plane(colours * side * stride);
    double* const z = pass.z.data();
    for (std::int64_t n = 0; n < c.n; ++n) {
        const double* const x = pixels_of(c, problem, n, pass.image);
        for (std::int64_t p = 0; p < c.planes; ++p) {
            const double* const of_plane = x + p * side * side;
            if (!c.symmetric) add_transpose(of_plane, side, s.data());
            multiply(c.symmetric ? of_plane : s.data(), side, 1, side, side, c.symmetric ? twice.data() : w, stride,
                     (colours ? plane.data() : z) + p * side * stride);
        }
        if (colours) {
            std::fill_n(z, (side + colours) * stride, 0.0);
            for (std::int64_t p = 0; p < colours; ++p)
                for (std::int64_t l = 0; l < side; ++l)
                    for (std::int64_t i = 0; i < stride; ++i) {
                        const double zc = plane[(p * side + l) * stride + i];
                        z[l * stride + i] += g[p * stride + i] * zc;
                        z[(side + p) * stride + i] += 0.5 * w[l * stride + i] * zc;
                    }
        }
        pass.finish<true>(c, problem * c.n + n, side, d);
    }
}

template <typename T>
void bilinear_with(const ScalarizeCall& c, std::int64_t problem, T* d) {
    Pass pass(c, problem, c.height + c.width + 1);
    const double *u = pass.w_row(0), *v = pass.w_row(c.height);
    double *const xv = pass.z.data(), *const xu = xv + c.height * pass.stride;
    for (std::int64_t n = 0; n < c.n; ++n) {
        const double* const x = pixels_of(c, problem, n, pass.image);
        multiply(x, c.width, 1, c.height, c.width, v, pass.stride, xv);
        if (d) multiply(x, 1, c.width, c.width, c.height, u, pass.stride, xu);
        pass.finish<false>(c, problem * c.n + n, c.height, d);
    }
}

template <typename P, typename T>
void pack_image(const P* x, double scale, std::int64_t side, T* out) {
    for (std::int64_t k = 0; k < side; ++k) {
        *out++ = static_cast<T>(scale * x[k * side + k]);
        for (std::int64_t l = k + 1; l < side; ++l)
            *out++ = static_cast<T>(scale * (double(x[k * side + l]) + double(x[l * side + k])));
    }
}

template <typename P, typename T>
void pack_with(const PackCall& c, const P* images, double scale, T* out) {
    const std::int64_t area = c.side * c.side, packed = c.side * (c.side + 1) / 2;
    for (std::int64_t at = 0; at < c.problems * c.n; ++at) {
        const P* const x = images + (c.index ? c.index[at] : at) * c.planes * area;
        for (std::int64_t p = 0; p < c.planes; ++p, out += packed) pack_image(x + p * area, scale, c.side, out);
    }
}

template <typename T>
void pack_to(const PackCall& c, T* out) {
    if (c.pixel == Pixel::u8)
        pack_with(c, static_cast<const std::uint8_t*>(c.images), 1.0 / 255.0, out);
    else if (c.pixel == Pixel::f32)
        pack_with(c, static_cast<const float*>(c.images), 1.0, out);
    else
        pack_with(c, static_cast<const double*>(c.images), 1.0, out);
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

void quadratic(const ScalarizeCall& call) {
    for (std::int64_t problem = 0; problem < call.problems; ++problem)
        if (call.d_is_float)
            quadratic_with(call, problem, static_cast<float*>(call.d));
        else
            quadratic_with(call, problem, static_cast<double*>(call.d));
}

void bilinear(const ScalarizeCall& call) {
    for (std::int64_t problem = 0; problem < call.problems; ++problem)
        if (call.d_is_float)
            bilinear_with(call, problem, static_cast<float*>(call.d));
        else
            bilinear_with(call, problem, static_cast<double*>(call.d));
}

void pack(const PackCall& call) {
    if (call.out_is_float)
        pack_to(call, static_cast<float*>(call.out));
    else
        pack_to(call, static_cast<double*>(call.out));
}

void activate(double* q, const double* bias, std::int64_t n, std::int64_t units, std::int64_t stride, bool logistic) {
    activate_rows(q, bias, n, units, stride, logistic);
}
void activate(float* q, const float* bias, std::int64_t n, std::int64_t units, std::int64_t stride, bool logistic) {
    activate_rows(q, bias, n, units, stride, logistic);
}

}  // namespace varpro::VARPRO_ISA
