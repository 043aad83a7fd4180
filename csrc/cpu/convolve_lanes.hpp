/// The loops that convolutional units consist of.  Images are the SIMD lanes: a number of the formulas is a vector, so
/// that no loop ends in the middle of one, sums over a cell stay in their lanes, and a stride is but another distance.
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

/// Calls run(first, 0, 1, ... as integer constants) for parts of `count` things, each of `most` at most and all of
/// nearly equal size: no thin remainder.
template <int most, typename Run>
inline void in_parts(std::int64_t count, Run&& run) {
    const std::int64_t parts = (count + most - 1) / most;
    for (std::int64_t k = 0; k < parts; ++k) {
        const std::int64_t first = count * k / parts, last = count * (k + 1) / parts;
        by_number<most>(last - first, [&](auto numbers) { run(first, numbers); });
    }
}

/// Sums that are held in registers at a time: of places under one or two tables of weights, of taps, and of outputs
/// times numbers of D.
template <int tables>
constexpr int kPlaces = tables == 1               ? 14
                        : VARPRO_LANE_BYTES == 64 ? 13
                                                  : 6;
constexpr int kTaps = 10, kOutputs = 3, kNumbers = 4;

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

/// Numbers in memory and how far those of the next place, the next row of places and the next tap are, in numbers.
template <typename T>
struct Field {
    const T* data;
    std::int64_t place, row, tap;
};

/// Sums over taps, of neighbouring places, under each of a few tables of weights: what is loaded serves all of them,
/// for a processor loads hardly more vectors in a cycle than it multiplies.
template <typename T, int tables, int... j>
struct PlaceSums {
    Lanes<T> sums[tables][sizeof...(j)];

    void begin(T start) {
        for (int table = 0; table < tables; ++table) ((sums[table][j] = everywhere(start)), ...);
    }
    /// Adds sum_k weights[table][k] x[place, k].
    __attribute__((always_inline)) void add(const T* x, const Field<T>& of, const T* const (&weights)[tables],
                                            std::int64_t taps) {
        constexpr std::int64_t lanes = LanesOf<T>::count;
        if (of.place == lanes)  // known distances need no registers
            add_at(x, lanes, of.tap, weights, taps);
        else
            add_at(x, of.place, of.tap, weights, taps);
    }
    void write(int table, T* to) const { ((store(to + j * LanesOf<T>::count, sums[table][j])), ...); }

  private:
    __attribute__((always_inline)) void add_at(const T* x, std::int64_t place, std::int64_t tap,
                                               const T* const (&weights)[tables], std::int64_t taps) {
        asm("" : "+r"(tap));  // unknown to the compiler, which would keep what the next tap reads again and spill sums
        for (std::int64_t k = 0; k < taps; ++k, x += tap) {
            const Lanes<T> weight = held<T>(everywhere(weights[0][k]));
            if constexpr (tables == 1) {
                ((sums[0][j] += weight * load(x + j * place)), ...);
            } else {
                const Lanes<T> other = held<T>(everywhere(weights[1][k]));
                const auto both = [&](Lanes<T>& one, Lanes<T>& two, Lanes<T> value) __attribute__((always_inline)) {
                    one += weight * value;
                    two += other * value;
                };
                (both(sums[0][j], sums[1][j], held<T>(load(x + j * place))), ...);
            }
        }
    }
};

/// Places from (row, column) on.
struct Area {
    std::int64_t row, column, rows, columns;
};

/// use(k, sum over the places of an area of s y[place, k]) for `taps` taps of y; s is (rows of places, across, lanes).
template <typename T, typename Use>
inline void correlate(const T* s, std::int64_t across, const Field<T>& y, Area area, std::int64_t taps, Use&& use) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    const T* const left = s + (area.row * across + area.column) * lanes;
    const T* const right = y.data + area.row * y.row + area.column * y.place;
    in_parts<kTaps>(taps, [&]<int... k>(std::int64_t first, std::integer_sequence<int, k...>) {
        Lanes<T> sums[] = {((void)k, Lanes<T>{})...};
        const auto add = [&](std::int64_t tap) __attribute__((always_inline)) {
            for (std::int64_t r = 0; r < area.rows; ++r) {
                const T *by = left + r * across * lanes, *x = right + r * y.row + first * tap;
                for (std::int64_t i = 0; i < area.columns; ++i, by += lanes, x += y.place) {
                    const Lanes<T> factor = held<T>(load(by));
                    ((sums[k] += factor * load(x + k * tap)), ...);
                }
            }
        };
        if (y.tap == lanes)
            add(lanes);
        else
            add(y.tap);
        (use(first + k, sums[k]), ...);
    });
}

/// to (outputs, numbers, lanes) = layer^T d, for d (cells, numbers, lanes) and the layer (cells, outputs).
template <typename T>
void times_layer(const T* d, std::int64_t cells, std::int64_t numbers, const T* layer, std::int64_t outputs, T* to) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    in_parts<kNumbers>(numbers, [&]<int... j>(std::int64_t first, std::integer_sequence<int, j...>) {
        in_parts<kOutputs>(outputs, [&]<int... k>(std::int64_t output, std::integer_sequence<int, k...>) {
            Lanes<T> sums[sizeof...(k)][sizeof...(j)] = {};
            const T *x = d + first * lanes, *a = layer + output;
            for (std::int64_t cell = 0; cell < cells; ++cell, x += numbers * lanes, a += outputs) {
                const Lanes<T> of[] = {held<T>(load(x + j * lanes))...};
                const auto add = [&](Lanes<T>(&row)[sizeof...(j)], Lanes<T> weight) {
                    ((row[j] += weight * of[j]), ...);
                };
                (add(sums[k], everywhere(a[k])), ...);
            }
            const auto write = [&](const Lanes<T>(&row)[sizeof...(j)], T* at) {
                ((store(at + j * lanes, row[j])), ...);
            };
            (write(sums[k], to + ((output + k) * numbers + first) * lanes), ...);
        });
    });
}

/// A square of numbers that is turned at a time: a row of it has 16 bytes on every processor.
template <typename T>
constexpr int kSquare = LanesOf<T, 16>::count;

template <typename T>
inline Lanes<T, 16> load_row(const T* from) {
    Lanes<T, 16> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

/// Columns of a square whose rows are `apart`.
inline void load_turned(const double* from, std::int64_t apart, Lanes<double, 16> (&to)[2]) {
    const Lanes<double, 16> a = load_row(from), b = load_row(from + apart);
    to[0] = __builtin_shufflevector(a, b, 0, 2);
    to[1] = __builtin_shufflevector(a, b, 1, 3);
}
inline void load_turned(const float* from, std::int64_t apart, Lanes<float, 16> (&to)[4]) {
    const Lanes<float, 16> a = load_row(from), b = load_row(from + apart), c = load_row(from + 2 * apart),
                           d = load_row(from + 3 * apart);
    const Lanes<float, 16> ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                           cd = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                           ef = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                           gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    to[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    to[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    to[2] = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
    to[3] = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
}

/// to[lane, k], `next` apart by the lane = from[k, lane], whose rows are `apart`, for k < count and lane < lanes_used.
template <typename T>
void write_by_lane(const T* from, std::int64_t apart, std::int64_t count, std::int64_t lanes_used, T* to,
                   std::int64_t next) {
    constexpr int square = kSquare<T>;
    std::int64_t k = 0;
    for (; k + square <= count; k += square)
        for (std::int64_t lane = 0; lane < lanes_used; lane += square) {
            Lanes<T, 16> turned[square];
            load_turned(from + k * apart + lane, apart, turned);
            const std::int64_t rows = std::min<std::int64_t>(square, lanes_used - lane);
            for (std::int64_t j = 0; j < rows; ++j) std::memcpy(to + (lane + j) * next + k, &turned[j], 16);
        }
    for (; k < count; ++k)
        for (std::int64_t lane = 0; lane < lanes_used; ++lane) to[lane * next + k] = from[k * apart + lane];
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
