/// Rows of float or double read as double vectors, and the samples of a batch class by class.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

using V = Lanes<double>;
constexpr std::int64_t kWidth = LanesOf<double>::count;

inline V load_wide(const double* from) { return load(from); }
inline V load_wide(const float* from) {
    typedef float Narrow __attribute__((vector_size(kWidth * sizeof(float))));
    Narrow v;
    std::memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, V);
}

/// The samples of class c are order[first[c]] .. order[first[c + 1] - 1], in their order.
struct ByClass {
    std::vector<std::int64_t> first, order;

    ByClass(const std::int64_t* position, std::int64_t n, std::int64_t classes) : first(classes + 1), order(n) {
        for (std::int64_t j = 0; j < n; ++j) ++first[position[j] + 1];
        std::partial_sum(first.begin(), first.end(), first.begin());
        std::vector<std::int64_t> next(first.begin(), first.end() - 1);
        for (std::int64_t j = 0; j < n; ++j) order[next[position[j]]++] = j;
    }

    const std::int64_t* samples(std::int64_t c) const { return order.data() + first[c]; }
    std::int64_t count(std::int64_t c) const { return first[c + 1] - first[c]; }
};

/// total[j] += the rows' entries j, four rows at a time: a quarter of the traffic on total.
template <typename T>
void add_rows(const T* f, std::int64_t stride, const std::int64_t* samples, std::int64_t count, std::int64_t width,
              double* __restrict total) {
    std::int64_t k = 0;
    for (; k + 4 <= count; k += 4) {
        const T* const a = f + samples[k] * stride;
        const T* const b = f + samples[k + 1] * stride;
        const T* const c = f + samples[k + 2] * stride;
        const T* const d = f + samples[k + 3] * stride;
        for (std::int64_t j = 0; j < width; ++j)
            total[j] += (double(a[j]) + double(b[j])) + (double(c[j]) + double(d[j]));
    }
    for (; k < count; ++k) {
        const T* const a = f + samples[k] * stride;
        for (std::int64_t j = 0; j < width; ++j) total[j] += double(a[j]);
    }
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
