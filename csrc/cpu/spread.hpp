/// Rows of a few numbers, as the caller has them, into columns that vectors run along.
#pragma once

#include <algorithm>
#include <cstdint>

namespace varpro::VARPRO_ISA {
namespace {

/// (n, count) into columns `rows` apart, for a count that the compiler knows: it then moves whole vectors.
template <int count>
void spread(const double* __restrict from, std::int64_t n, std::int64_t rows, double* __restrict to) {
    for (std::int64_t r = 0; r < n; ++r)
        for (int column = 0; column < count; ++column) to[column * rows + r] = from[r * count + column];
}

/// The same for any count.
inline void spread(const double* from, std::int64_t n, std::int64_t count, std::int64_t rows, double* to) {
    if (count == 1) return void(std::copy_n(from, n, to));
    if (count == 2) return spread<2>(from, n, rows, to);
    if (count == 3) return spread<3>(from, n, rows, to);
    if (count == 4) return spread<4>(from, n, rows, to);
    constexpr std::int64_t together = 8;  // the doubles of a cache line: each is read once
    std::int64_t column = 0;
    for (; column + together <= count; column += together)
        for (std::int64_t r = 0; r < n; ++r)
            for (std::int64_t next = column; next < column + together; ++next)
                to[next * rows + r] = from[r * count + next];
    for (; column < count; ++column)
        for (std::int64_t r = 0; r < n; ++r) to[column * rows + r] = from[r * count + column];
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
