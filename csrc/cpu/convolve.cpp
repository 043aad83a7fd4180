// Convolutional units.
#include "../kernels/convolve.hpp"

#include <cmath>
#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "convolve_sweep.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// log(1 + e) for e in [0, 1]: 2 artanh(e / (2 + e)), whose argument is at most 1/3.
template <typename Value>
Value log1p_lane(Value e) {
    using T = typename Parts<Value>::T;
    const Value z = e / (e + T(2)), square = z * z;
    constexpr int terms = sizeof(T) == 8 ? 17 : 8;
    Value sum = Value{} + T(1) / T(2 * terms - 1);
    for (int k = terms - 2; k >= 0; --k) sum = sum * square + T(1) / T(2 * k + 1);
    return T(2) * z * sum;
}

/// 1 / sqrt(x), x > 0.  In float from the processor's estimate of 12 bits or more and one Newton step, to 2 units in
/// the last place: a division and a root would take as long as the convolution of a small patch.
inline Lanes<double> reciprocal_root(Lanes<double> x) {
    Lanes<double> out;
    for (int k = 0; k < LanesOf<double>::count; ++k) out[k] = 1.0 / std::sqrt(x[k]);
    return out;
}
inline Lanes<float> reciprocal_root(Lanes<float> x) {
#if defined(__AVX512F__) && VARPRO_LANE_BYTES == 64
    const Lanes<float> guess = (Lanes<float>)_mm512_maskz_rsqrt14_ps(0xffff, (__m512)x);
#elif defined(__AVX__) && VARPRO_LANE_BYTES == 32
    const Lanes<float> guess = (Lanes<float>)_mm256_rsqrt_ps((__m256)x);
#elif defined(__SSE__) && VARPRO_LANE_BYTES == 16
    const Lanes<float> guess = (Lanes<float>)_mm_rsqrt_ps((__m128)x);
#else
    Lanes<float> guess;
    for (int k = 0; k < LanesOf<float>::count; ++k) guess[k] = 1.0f / std::sqrt(x[k]);
#endif
    return guess * (1.5f - 0.5f * x * guess * guess);
}

/// phi = sigma(q), and slope = sigma'(q) where slope is not null; `slope` may be q.
template <typename T>
void squash(Squash kind, T smoothing, const T* q, std::int64_t count, T* phi, T* slope) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    const auto run = [&](auto&& function) {
        for (std::int64_t k = 0; k < count; k += lanes) {
            Lanes<T> derivative;
            store(phi + k, function(load(q + k), derivative));
            if (slope) store(slope + k, derivative);
        }
    };
    switch (kind) {
        case Squash::tanh:
            return run([](Lanes<T> x, Lanes<T>& d) {
                const Lanes<T> value = tanh_lane(x);
                d = T(1) - value * value;
                return value;
            });
        case Squash::logistic:
            return run([](Lanes<T> x, Lanes<T>& d) {
                const Lanes<T> value = logistic_lane(x);
                d = value * (T(1) - value);
                return value;
            });
        case Squash::smooth_abs:
            return run([&](Lanes<T> x, Lanes<T>& d) {
                const Lanes<T> square = x * x + smoothing, reciprocal = reciprocal_root(square);
                d = x * reciprocal;
                return square * reciprocal;
            });
        case Squash::square:
            return run([](Lanes<T> x, Lanes<T>& d) {
                d = x + x;
                return x * x;
            });
        case Squash::softplus:
            return run([](Lanes<T> x, Lanes<T>& d) {
                const Lanes<T> size = x < T(0) ? -x : x;
                d = logistic_lane(x);
                return (x + size) * T(0.5) + log1p_lane<Lanes<T>>(exp_lane<Lanes<T>>(-size));
            });
    }
}

/// sums (cells, kGroup) += the places of a row, cell by cell.
template <typename T>
void pool(const Sweep<T>& sweep, const T* row, T* sums) {
    constexpr std::int64_t lanes = LanesOf<T>::count, group = kGroup<T>;
    for (std::int64_t cell = 0; cell < sweep.c.cells; ++cell, sums += group) {
        Lanes<T> low = load(sums), high = load(sums + lanes);
        for (std::int64_t r = 0; r < sweep.cell_columns; ++r, row += group) {
            low += load(row);
            high += load(row + lanes);
        }
        store(sums, low);
        store(sums + lanes, high);
    }
}

/// phi (n, filters, cells^2) from sums (cells^2, kGroup), of one image and a group.
template <typename T>
void write_cells(const Sweep<T>& sweep, const T* sums, std::int64_t n, std::int64_t first, T* phi) {
    const std::int64_t cells = sweep.cell_count(), count = Sweep<T>::filters_at(sweep.c, first);
    T* to = phi + (n * sweep.c.filters + first) * cells;
    for (std::int64_t f = 0; f < count; ++f)
        for (std::int64_t cell = 0; cell < cells; ++cell)
            to[f * cells + cell] = sums[cell * kGroup<T> + f] * sweep.mean();
}

/// row *= the factors (cells, kGroup) of a row of cells.
template <typename T>
void weigh_cells(const Sweep<T>& sweep, const T* factors, T* row) {
    constexpr std::int64_t group = kGroup<T>;
    for (std::int64_t cell = 0; cell < sweep.c.cells; ++cell, factors += group)
        for (std::int64_t r = 0; r < sweep.cell_columns; ++r, row += group)
            for (std::int64_t k = 0; k < group; ++k) row[k] *= factors[k];
}

template <typename T>
void values(const ConvolveCall& c, const T* w, T* phi) {
    constexpr std::int64_t group = kGroup<T>;
    Sweep<T> sweep(c, false);
    Aligned<T> sums(sweep.cell_count() * group);
    sweep.filters(w);
    for (std::int64_t n = 0; n < c.n; ++n) {
        sweep.image(n);
        for (std::int64_t first = 0; first < c.filters; first += group) {
            sweep.group(first);
            std::fill(sums.begin(), sums.end(), T(0));
            for (std::int64_t place = 0; place < sweep.down; ++place) {
                T* q = sweep.row(place);
                squash<T>(c.squash, static_cast<T>(c.smoothing), q, sweep.across * group, q, nullptr);
                pool(sweep, q, sums.data() + place / sweep.cell_rows * c.cells * group);
            }
            write_cells(sweep, sums.data(), n, first, phi);
        }
    }
}

template <typename T>
void tangent(const ConvolveCall& c, const T* w, const T* dw, T* slope) {
    constexpr std::int64_t group = kGroup<T>;
    Sweep<T> sweep(c, true);
    Aligned<T> sums(sweep.cell_count() * group), phi(sweep.across * group), dq(phi);
    sweep.filters(w);
    const Aligned<T> directions = sweep.grouped(dw);
    for (std::int64_t n = 0; n < c.n; ++n) {
        sweep.image(n);
        for (std::int64_t first = 0; first < c.filters; first += group) {
            sweep.group(first);
            const T* direction = directions.data() + first * c.rows();
            std::fill(sums.begin(), sums.end(), T(0));
            for (std::int64_t place = 0; place < sweep.down; ++place) {
                T* q = sweep.row(place);
                squash<T>(c.squash, static_cast<T>(c.smoothing), q, sweep.across * group, phi.data(), q);
                const T* start = direction + (c.rows() - 1) * group;
                sweep.derivatives([&](std::int64_t row, std::int64_t count, const T* const* by, std::int64_t step) {
                    combine(start, by, step, direction + row * group, count, sweep.across, dq.data());
                    start = nullptr;
                });
                for (std::int64_t k = 0; k < sweep.across * group; ++k) dq[k] *= q[k];
                pool(sweep, dq.data(), sums.data() + place / sweep.cell_rows * c.cells * group);
            }
            write_cells(sweep, sums.data(), n, first, slope);
        }
    }
}

template <typename T>
void jacobian(const ConvolveCall& c, const T* w, T* d) {
    constexpr std::int64_t group = kGroup<T>;
    Sweep<T> sweep(c, true);
    const std::int64_t rows = c.rows(), cell_size = rows * group;
    Aligned<T> sums(sweep.cell_count() * cell_size), phi(sweep.across * group);
    sweep.filters(w);
    for (std::int64_t n = 0; n < c.n; ++n) {
        sweep.image(n);
        for (std::int64_t first = 0; first < c.filters; first += group) {
            sweep.group(first);
            const std::int64_t count = Sweep<T>::filters_at(c, first);
            std::fill(sums.begin(), sums.end(), T(0));
            for (std::int64_t place = 0; place < sweep.down; ++place) {
                T* slope = sweep.row(place);
                squash<T>(c.squash, static_cast<T>(c.smoothing), slope, sweep.across * group, phi.data(), slope);
                T* const of_row = sums.data() + place / sweep.cell_rows * c.cells * cell_size;
                sweep.derivatives([&](std::int64_t row, std::int64_t taps, const T* const* by, std::int64_t step) {
                    const T* here[kOperands];
                    for (std::int64_t cell = 0; cell < c.cells; ++cell) {
                        const std::int64_t begin = cell * sweep.cell_columns;
                        for (std::int64_t k = 0; k < taps; ++k) here[k] = by[k] + begin * step * group;
                        correlate(slope + begin * group, here, step, taps, sweep.cell_columns,
                                  of_row + cell * cell_size + row * group);
                    }
                });
                for (std::int64_t cell = 0; cell < c.cells; ++cell)
                    for (std::int64_t r = 0; r < sweep.cell_columns; ++r)
                        for (std::int64_t k = 0; k < group; ++k)
                            of_row[cell * cell_size + (rows - 1) * group + k] +=
                                slope[(cell * sweep.cell_columns + r) * group + k];
            }
            T* to = d + n * sweep.cell_count() * rows * c.filters + first;
            for (std::int64_t k = 0; k < sweep.cell_count() * rows; ++k)
                for (std::int64_t f = 0; f < count; ++f) to[k * c.filters + f] = sums[k * group + f] * sweep.mean();
        }
    }
}

template <typename T>
void contract(const ConvolveCall& c, const T* w, const T* b, double* gradient) {
    constexpr std::int64_t group = kGroup<T>;
    Sweep<T> sweep(c, true);
    const std::int64_t rows = c.rows(), cells = sweep.cell_count();
    Aligned<T> sums(rows * group), phi(sweep.across * group), factors(cells * group);
    sweep.filters(w);
    for (std::int64_t n = 0; n < c.n; ++n) {
        sweep.image(n);
        for (std::int64_t first = 0; first < c.filters; first += group) {
            sweep.group(first);
            const std::int64_t count = Sweep<T>::filters_at(c, first);
            std::fill(sums.begin(), sums.end(), T(0));
            const T* from = b + (n * c.filters + first) * cells;
            for (std::int64_t f = 0; f < count; ++f)
                for (std::int64_t cell = 0; cell < cells; ++cell)
                    factors[cell * group + f] = from[f * cells + cell] * sweep.mean();
            for (std::int64_t place = 0; place < sweep.down; ++place) {
                T* slope = sweep.row(place);
                squash<T>(c.squash, static_cast<T>(c.smoothing), slope, sweep.across * group, phi.data(), slope);
                weigh_cells(sweep, factors.data() + place / sweep.cell_rows * c.cells * group, slope);
                sweep.derivatives([&](std::int64_t row, std::int64_t taps, const T* const* by, std::int64_t step) {
                    correlate(slope, by, step, taps, sweep.across, sums.data() + row * group);
                });
                for (std::int64_t r = 0; r < sweep.across; ++r)
                    for (std::int64_t k = 0; k < group; ++k) sums[(rows - 1) * group + k] += slope[r * group + k];
            }
            for (std::int64_t row = 0; row < rows; ++row)
                for (std::int64_t f = 0; f < count; ++f)
                    gradient[row * c.filters + first + f] += static_cast<double>(sums[row * group + f]);
        }
    }
}

}  // namespace

#define VARPRO_DEFINE_CONVOLVE(T)                                                                                   \
    void convolve_values(const ConvolveCall& call, const T* w, T* phi) { values(call, w, phi); }                    \
    void convolve_jacobian(const ConvolveCall& call, const T* w, T* d) { jacobian(call, w, d); }                    \
    void convolve_tangent(const ConvolveCall& call, const T* w, const T* dw, T* out) { tangent(call, w, dw, out); } \
    void convolve_contract(const ConvolveCall& call, const T* w, const T* b, double* out) { contract(call, w, b, out); }

VARPRO_DEFINE_CONVOLVE(float)
VARPRO_DEFINE_CONVOLVE(double)

}  // namespace varpro::VARPRO_ISA
