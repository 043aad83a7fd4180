// Units on windows.  Images are the SIMD lanes: 32 at a time (16 in double, twice as many where vectors have 64 bytes)
// are laid out pixel by pixel, so that a pixel is four vectors, and every unit reads only the pixels of its window. The
// tile (100 KB for 28 x 28, or 200) stays in the second-level cache; with one load per multiplication the limit is half
// to two thirds of the multiply-add peak.
#include <algorithm>
#include <vector>

#include "../kernels/scalarize.hpp"
#include "aligned.hpp"
#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr int kVectors = 4;  // vectors per pixel

template <typename T>
constexpr std::int64_t kTile = kVectors * LanesOf<T>::count;

template <typename T, typename P>
void transpose_from(const P* x, T scale, std::int64_t images, std::int64_t pixels, T* tile) {
    if (images < kTile<T>) std::fill_n(tile, pixels * kTile<T>, T(0));
    for (std::int64_t n = 0; n < images; ++n)
        for (std::int64_t p = 0; p < pixels; ++p) tile[p * kTile<T> + n] = scale * static_cast<T>(x[n * pixels + p]);
}

/// Images first .. first + images of the call, pixel by pixel; missing ones are zero.
template <typename T>
void transpose(const WindowCall& c, std::int64_t first, std::int64_t images, T* tile) {
    const std::int64_t pixels = c.planes * c.height * c.width, at = first * pixels;
    if (c.pixel == Pixel::u8)
        transpose_from(static_cast<const std::uint8_t*>(c.x) + at, T(1.0 / 255.0), images, pixels, tile);
    else if (c.pixel == Pixel::f32)
        transpose_from(static_cast<const float*>(c.x) + at, T(1), images, pixels, tile);
    else
        transpose_from(static_cast<const double*>(c.x) + at, T(1), images, pixels, tile);
}

struct Window {
    std::int64_t top, left, height, width;
};

Window window_of(const WindowCall& c, std::int64_t unit) {
    const std::int32_t* w = c.windows + 4 * unit;
    return {w[0], w[1], w[2], w[3]};
}

/// Pixel (plane, row, 0 of the window) in the tile.
template <typename T>
const T* row_of(const WindowCall& c, const Window& w, std::int64_t plane, std::int64_t row, const T* tile) {
    return tile + ((plane * c.height + w.top + row) * c.width + w.left) * kTile<T>;
}

/// Units sorted by the places of their windows, so that neighbours share pixels in the first-level cache.
std::vector<std::int64_t> by_place(const WindowCall& c) {
    std::vector<std::int64_t> order(c.units);
    for (std::int64_t i = 0; i < c.units; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        return c.windows[4 * a] != c.windows[4 * b] ? c.windows[4 * a] < c.windows[4 * b]
                                                    : c.windows[4 * a + 1] < c.windows[4 * b + 1];
    });
    return order;
}

template <typename T>
void forward(const WindowCall& c, const T* matrices, T* q) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    const std::vector<std::int64_t> order = by_place(c);
    Aligned<T> tile(c.planes * c.height * c.width * kTile<T>);
    Aligned<T> values(c.units * kTile<T>);
    for (std::int64_t first = 0; first < c.n; first += kTile<T>) {
        const std::int64_t images = std::min(kTile<T>, c.n - first);
        transpose(c, first, images, tile.data());
        for (const std::int64_t i : order) {
            const Window w = window_of(c, i);
            const T* m = matrices + c.offsets[i];
            Lanes<T> even[kVectors] = {}, odd[kVectors] = {};  // two chains: a multiply-add takes four cycles
            for (std::int64_t p = 0; p < c.planes; ++p)
                for (std::int64_t r = 0; r < w.height; ++r) {
                    const T* x = row_of(c, w, p, r, tile.data());
                    std::int64_t k = 0;
                    for (; k + 2 <= w.width; k += 2, m += 2, x += 2 * kTile<T>)
                        for (int v = 0; v < kVectors; ++v) {
                            even[v] += m[0] * load(x + v * lanes);
                            odd[v] += m[1] * load(x + kTile<T> + v * lanes);
                        }
                    for (; k < w.width; ++k, ++m, x += kTile<T>)
                        for (int v = 0; v < kVectors; ++v) even[v] += m[0] * load(x + v * lanes);
                }
            for (int v = 0; v < kVectors; ++v) store(&values[i * kTile<T> + v * lanes], even[v] + odd[v]);
        }
        for (std::int64_t n = 0; n < images; ++n)
            for (std::int64_t i = 0; i < c.units; ++i) q[(first + n) * c.units + i] = values[i * kTile<T> + n];
    }
}

/// Sums of four vectors at once, fewer shuffles than one by one.
inline void add_sums(const Lanes<float>* v, float* to) {
    Lanes<float, 16> half[4];
    for (int i = 0; i < 4; ++i) half[i] = folded<float>(v[i]);
    const Lanes<float, 16> a =
        __builtin_shufflevector(half[0], half[1], 0, 4, 1, 5) + __builtin_shufflevector(half[0], half[1], 2, 6, 3, 7);
    const Lanes<float, 16> b =
        __builtin_shufflevector(half[2], half[3], 0, 4, 1, 5) + __builtin_shufflevector(half[2], half[3], 2, 6, 3, 7);
    const Lanes<float, 16> total =
        __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
    for (int i = 0; i < 4; ++i) to[i] += total[i];
}
inline void add_sums(const Lanes<double>* v, double* to) {
    for (int i = 0; i < 4; ++i) to[i] += sum(v[i]);
}

template <typename T>
void adjoint(const WindowCall& c, const T* b, T* matrices) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    const std::vector<std::int64_t> order = by_place(c);
    Aligned<T> tile(c.planes * c.height * c.width * kTile<T>);
    Aligned<T> weights(c.units * kTile<T>);
    std::fill_n(matrices, c.offsets[c.units], T(0));
    for (std::int64_t first = 0; first < c.n; first += kTile<T>) {
        const std::int64_t images = std::min(kTile<T>, c.n - first);
        transpose(c, first, images, tile.data());
        if (images < kTile<T>) std::fill(weights.begin(), weights.end(), T(0));
        for (std::int64_t n = 0; n < images; ++n)
            for (std::int64_t i = 0; i < c.units; ++i) weights[i * kTile<T> + n] = b[(first + n) * c.units + i];
        for (const std::int64_t i : order) {
            const Window w = window_of(c, i);
            T* m = matrices + c.offsets[i];
            Lanes<T> weight[kVectors];
            for (int v = 0; v < kVectors; ++v) weight[v] = load(&weights[i * kTile<T> + v * lanes]);
            for (std::int64_t p = 0; p < c.planes; ++p)
                for (std::int64_t r = 0; r < w.height; ++r) {
                    const T* x = row_of(c, w, p, r, tile.data());
                    std::int64_t k = 0;
                    for (; k + 4 <= w.width; k += 4, m += 4, x += 4 * kTile<T>) {
                        Lanes<T> total[4];
                        for (int j = 0; j < 4; ++j) {
                            total[j] = weight[0] * load(x + j * kTile<T>);
                            for (int v = 1; v < kVectors; ++v)
                                total[j] += weight[v] * load(x + j * kTile<T> + v * lanes);
                        }
                        add_sums(total, m);
                    }
                    for (; k < w.width; ++k, ++m, x += kTile<T>) {
                        Lanes<T> total = weight[0] * load(x);
                        for (int v = 1; v < kVectors; ++v) total += weight[v] * load(x + v * lanes);
                        *m += sum(total);
                    }
                }
        }
    }
}

/// d[n, unit i] = slope[n, i] [X v | X^T u | 1]; images are the lanes here too, the tile is written back row by row.
template <typename D>
void jacobian(const WindowCall& c, const double* u, const double* v, const double* slope, D* d) {
    constexpr std::int64_t lanes = LanesOf<double>::count;
    std::int64_t columns = 0, longest = 0;
    for (std::int64_t i = 0; i < c.units; ++i) {
        const Window w = window_of(c, i);
        columns += c.planes * w.height + w.width + 1;
        longest = std::max(longest, c.planes * w.height + w.width + 1);
    }
    Aligned<double> tile(c.planes * c.height * c.width * kTile<double>), out(longest * kTile<double>);
    for (std::int64_t first = 0; first < c.n; first += kTile<double>) {
        const std::int64_t images = std::min(kTile<double>, c.n - first);
        transpose(c, first, images, tile.data());
        const double *ui = u, *vi = v;
        std::int64_t column = 0;
        for (std::int64_t i = 0; i < c.units; ++i) {
            const Window w = window_of(c, i);
            const std::int64_t tall = c.planes * w.height, size = tall + w.width + 1;
            std::fill(out.begin(), out.begin() + size * kTile<double>, 0.0);
            std::fill(out.begin() + (size - 1) * kTile<double>, out.begin() + size * kTile<double>, 1.0);
            for (std::int64_t r = 0; r < tall; ++r) {
                const double* x = row_of(c, w, r / w.height, r % w.height, tile.data());
                for (int part = 0; part < kVectors; ++part) {
                    Lanes<double> along = {};
                    for (std::int64_t k = 0; k < w.width; ++k) {
                        const Lanes<double> pixel = load(x + k * kTile<double> + part * lanes);
                        double* across = &out[(tall + k) * kTile<double> + part * lanes];
                        along += vi[k] * pixel;
                        store(across, load(across) + ui[r] * pixel);
                    }
                    store(&out[r * kTile<double> + part * lanes], along);
                }
            }
            for (std::int64_t n = 0; n < images; ++n) {
                const double s = slope[(first + n) * c.units + i];
                D* to = d + (first + n) * columns + column;
                for (std::int64_t k = 0; k < size; ++k) to[k] = static_cast<D>(s * out[k * kTile<double> + n]);
            }
            ui += tall, vi += w.width, column += size;
        }
    }
}

}  // namespace

void window_forward(const WindowCall& call, const float* matrices, float* q) { forward(call, matrices, q); }
void window_forward(const WindowCall& call, const double* matrices, double* q) { forward(call, matrices, q); }
void window_adjoint(const WindowCall& call, const float* b, float* matrices) { adjoint(call, b, matrices); }
void window_adjoint(const WindowCall& call, const double* b, double* matrices) { adjoint(call, b, matrices); }
void window_jacobian(const WindowCall& call, const double* u, const double* v, const double* slope, void* d,
                     bool d_is_float) {
    if (d_is_float)
        jacobian(call, u, v, slope, static_cast<float*>(d));
    else
        jacobian(call, u, v, slope, static_cast<double*>(d));
}

}  // namespace varpro::VARPRO_ISA
