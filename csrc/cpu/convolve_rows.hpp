/// The two loops that convolutional units consist of.  Filters are the SIMD lanes: a row of an image, or of anything
/// computed from it, is an array (places, kGroup), and each lane has its own weights.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// Filters processed together: two vectors, so that twelve sums and their operands fit into sixteen registers.
template <typename T>
constexpr std::int64_t kGroup = 2 * LanesOf<T>::count;

/// The most rows that a loop reads at once: the largest side of a patch.
constexpr std::int64_t kOperands = 64;

/// Calls function with the integer constants 0, 1, ..., as many as a number from 1 to 7 that is known at run time.
template <typename Function>
inline void by_number(std::int64_t number, Function&& function) {
    switch (number) {
        case 1:
            return function(std::make_integer_sequence<int, 1>{});
        case 2:
            return function(std::make_integer_sequence<int, 2>{});
        case 3:
            return function(std::make_integer_sequence<int, 3>{});
        case 4:
            return function(std::make_integer_sequence<int, 4>{});
        case 5:
            return function(std::make_integer_sequence<int, 5>{});
        case 6:
            return function(std::make_integer_sequence<int, 6>{});
        default:
            return function(std::make_integer_sequence<int, 7>{});
    }
}
constexpr std::int64_t kTile = 7;

/// out[place] = start + sum_k weights[k] x_k[step place], for places 0..places-1 and each lane.  start (kGroup) is the
/// same for all places; if it is null, the sums are added to out.  x: at most kOperands rows.
template <typename T, bool NEIGHBOURS>
void combine_row(const T* start, const T* const* x, std::int64_t step, const T* weights, std::int64_t count,
                 std::int64_t places, T* out) {
    constexpr std::int64_t lanes = LanesOf<T>::count, group = kGroup<T>;
    const std::int64_t parts = (places + kTile - 1) / kTile, apart = NEIGHBOURS ? group : step * group;
    for (std::int64_t part = 0; part < parts; ++part) {  // parts of nearly equal size: no thin remainder
        const std::int64_t first = places * part / parts, last = places * (part + 1) / parts;
        T* const to = out + first * group;
        const T* const from = start ? start : to;
        const std::int64_t between = start ? 0 : group, offset = first * apart;
        by_number(last - first, [&]<int... j>(std::integer_sequence<int, j...>) {
            // expanded over the pack: a loop over the arrays would send the sums through memory
            Lanes<T> low[] = {load(from + j * between)...}, high[] = {load(from + j * between + lanes)...};
            for (std::int64_t k = 0; k < count; ++k) {
                const Lanes<T> first_weight = load(weights + k * group),
                               second_weight = load(weights + k * group + lanes);
                const T* const here = x[k] + offset;
                ((low[j] += first_weight * load(here + j * apart),
                  high[j] += second_weight * load(here + j * apart + lanes)),
                 ...);
            }
            ((store(to + j * group, low[j]), store(to + j * group + lanes, high[j])), ...);
        });
    }
}

template <typename T>
void combine(const T* start, const T* const* x, std::int64_t step, const T* weights, std::int64_t count,
             std::int64_t places, T* out) {
    (step == 1 ? combine_row<T, true> : combine_row<T, false>)(start, x, step, weights, count, places, out);
}

/// out[k] += sum over the places of s[place] y_k[step place], for each lane.
template <typename T>
void correlate(const T* s, const T* const* y, std::int64_t step, std::int64_t count, std::int64_t places, T* out) {
    constexpr std::int64_t lanes = LanesOf<T>::count, group = kGroup<T>;
    const std::int64_t parts = (count + kTile - 1) / kTile, apart = step * group;
    for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t first = count * part / parts, last = count * (part + 1) / parts;
        T* const to = out + first * group;
        by_number(last - first, [&]<int... k>(std::integer_sequence<int, k...>) {
            const T* const from[] = {y[first + k]...};
            Lanes<T> low[] = {load(to + k * group)...}, high[] = {load(to + k * group + lanes)...};
            for (std::int64_t place = 0; place < places; ++place) {
                const Lanes<T> one = load(s + place * group), other = load(s + place * group + lanes);
                ((low[k] += one * load(from[k] + place * apart),
                  high[k] += other * load(from[k] + place * apart + lanes)),
                 ...);
            }
            ((store(to + k * group, low[k]), store(to + k * group + lanes, high[k])), ...);
        });
    }
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
