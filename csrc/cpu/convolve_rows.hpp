/// The two loops that convolutional units consist of.  Places along a row of the image are the SIMD lanes, so that the
/// image and both halves of a form stay in the first-level cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// Calls function with the integer constants 0, 1, ..., as many as a number from 1 to `most` known at run time.
template <int most, typename Function>
inline void by_number(std::int64_t number, Function&& function) {
    if constexpr (most > 1) {
        if (number < most) return by_number<most - 1>(number, function);
    }
    function(std::make_integer_sequence<int, most>{});
}

/// Vectors of a row that are summed at a time: for three filters, twelve sums and their operands fit into sixteen
/// registers.
constexpr int kPart = 4;
/// Taps that are correlated at a time.
constexpr int kTaps = 10;

/// The value in every lane.  As a sum with a vector of zeros it would be added in earnest, for the sake of -0.
template <typename T>
inline Lanes<T> everywhere(T value) {
    return [&]<int... k>(std::integer_sequence<int, k...>) {
        return Lanes<T>{((void)k, value)...};
    }(std::make_integer_sequence<int, LanesOf<T>::count>{});
}

/// The value, which the compiler must hold in a register: as an operand it would be loaded again for each use.
template <typename T>
inline Lanes<T> held(Lanes<T> value) {
#if (VARPRO_LANE_BYTES == 64 && defined(__AVX512F__)) || (VARPRO_LANE_BYTES == 32 && defined(__AVX__))
    asm("" : "+x"(value));
#endif
    return value;
}

/// Where the taps of a sum lie, k apart after the first, and how far their weights are apart.
struct Taps {
    std::int64_t count, apart, step = 1;
};

/// Filters whose rows are convolved together: with one load of pixels for all of them, since a vector load across two
/// cache lines, as most are that begin at an arbitrary pixel, takes twice as long as a product.
constexpr int kFilters = 3;

/// Sums sum_k weights_f[k step] x[k apart + place] of kFilters filters on one row.
template <typename T, int... j>
struct FilterSums {
    static constexpr std::int64_t lanes = LanesOf<T>::count;
    static constexpr int size = sizeof...(j);
    Lanes<T> sums[kFilters][size] = {};

    __attribute__((always_inline)) void add(const T* x, const T* const (&weights)[kFilters], Taps taps) {
        static_assert(kFilters == 3);
        const T *a = weights[0], *b = weights[1], *c = weights[2];
        for (std::int64_t k = 0; k < taps.count; ++k, x += taps.apart) {
            // expanded over the pack: a loop over the arrays would send the sums through memory
            const Lanes<T> of_a = everywhere(a[k * taps.step]), of_b = everywhere(b[k * taps.step]),
                           of_c = everywhere(c[k * taps.step]);
            (add_one(j, held<T>(load(x + j * lanes)), of_a, of_b, of_c), ...);
        }
    }

    /// The filters' rows, `apart` from each other.
    void write(T* to, std::int64_t apart) const {
        for (const auto& of_filter : sums) {
            ((store(to + j * lanes, of_filter[j])), ...);
            to += apart;
        }
    }

  private:
    __attribute__((always_inline)) void add_one(int at, Lanes<T> pixels, Lanes<T> a, Lanes<T> b, Lanes<T> c) {
        sums[0][at] += a * pixels;
        sums[1][at] += b * pixels;
        sums[2][at] += c * pixels;
    }
};

/// Sums start + sum_k weights[k step] x[k apart + place] of one filter on two rows.
template <typename T, int... j>
struct RowSums {
    static constexpr std::int64_t lanes = LanesOf<T>::count;
    static constexpr int size = sizeof...(j);
    Lanes<T> one[size], other[size];

    explicit RowSums(T start) : one{((void)j, everywhere(start))...}, other{((void)j, everywhere(start))...} {}

    __attribute__((always_inline)) void add(const T* x, const T* other_x, const T* weights, Taps taps) {
        for (std::int64_t k = 0; k < taps.count; ++k, x += taps.apart, other_x += taps.apart, weights += taps.step) {
            const Lanes<T> weight = everywhere(*weights);
            ((one[j] += weight * load(x + j * lanes), other[j] += weight * load(other_x + j * lanes)), ...);
        }
    }
    void write(T* to, T* other_to) const {
        ((store(to + j * lanes, one[j]), store(other_to + j * lanes, other[j])), ...);
    }
};

/// Calls run(first vector, 0, 1, ... as integer constants) for the parts of a row of `vectors` vectors.
template <typename Run>
inline void in_parts(std::int64_t vectors, Run&& run) {
    const auto part = [&](std::int64_t first, std::int64_t last) {
        by_number<kPart>(last - first, [&](auto numbers) { run(first, numbers); });
    };
    if (vectors <= kPart) return part(0, vectors);
    const std::int64_t parts = (vectors + kPart - 1) / kPart;
    for (std::int64_t k = 0; k < parts; ++k)  // of nearly equal size: no thin remainder
        part(vectors * k / parts, vectors * (k + 1) / parts);
}

/// The sums of the next two rows, r and r + 1, or r twice if it is the last one, for every part of `vectors` vectors:
/// run(r, next, first vector, RowSums) adds the taps and uses the sums.
template <typename T, typename Run>
inline void in_row_pairs(std::int64_t rows, std::int64_t vectors, T start, Run&& run) {
    for (std::int64_t r = 0; r < rows; r += 2) {
        const std::int64_t next = std::min(r + 1, rows - 1);
        in_parts(vectors, [&]<int... j>(std::int64_t first, std::integer_sequence<int, j...>) {
            RowSums<T, j...> sums(start);
            run(r, next, first, sums);
        });
    }
}

/// Rows of a matrix: row r begins at data + r apart.
template <typename T>
struct Rows {
    const T* data;
    std::int64_t apart;
};

/// to[k] (lanes) += sum over the rows, and over the vectors of a row unless each has sums of its own, of
/// s[row] y[row] at offsets[k].  `to` is (count, vectors lanes) with sums for each vector, else (count, lanes).
template <typename T, bool each_vector>
void correlate(Rows<T> s, Rows<T> y, std::int64_t rows, std::int64_t vectors, const std::int64_t* offsets,
               std::int64_t count, T* to) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    const std::int64_t parts = (count + kTaps - 1) / kTaps, wide = each_vector ? vectors * lanes : lanes;
    const std::int64_t outer = each_vector ? vectors : 1, inner = each_vector ? 1 : vectors;
    for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t first = count * part / parts, last = count * (part + 1) / parts;
        by_number<kTaps>(last - first, [&]<int... k>(std::integer_sequence<int, k...>) {
            for (std::int64_t v = 0; v < outer; ++v) {
                T* const at = to + first * wide + v * lanes;
                const std::int64_t shifts[] = {offsets[first + k]...};
                Lanes<T> sums[] = {load(at + k * wide)...};
                for (std::int64_t r = 0; r < rows; ++r) {
                    const T* const left = s.data + r * s.apart + v * lanes;
                    const T* const right = y.data + r * y.apart + v * lanes;
                    for (std::int64_t i = 0; i < inner; ++i) {
                        const Lanes<T> factor = load(left + i * lanes);
                        ((sums[k] += factor * load(right + i * lanes + shifts[k])), ...);
                    }
                }
                (store(at + k * wide, sums[k]), ...);
            }
        });
    }
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
