// The Hadamard weights of the Gauss-Newton matrix: one pass over the lower triangle, memory-bound except for 2 k
// operations per entry, which run on a strip of one row that stays in the first-level cache.
#include <algorithm>

#include "../kernels/gauss_newton.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr std::int64_t kStrip = 512;

template <typename T>
void strip(const WeighCall& c, const T* gram, std::int64_t row, std::int64_t first, std::int64_t count) {
    const std::int64_t j = c.columns[row] * c.m + first;
    double* __restrict h = c.h + row * c.m + first;
    const T* __restrict product = gram + row * c.m + first;
    const double* __restrict weight = c.weight + j;
    for (std::int64_t i = 0; i < count; ++i) h[i] = weight[i] * (static_cast<double>(product[i]) - h[i]);
    if (!c.inverse) return;
    double rank_k[kStrip];
    std::fill_n(rank_k, count, 0.0);
    for (std::int64_t q = 0; q < c.k; ++q) {
        const double factor = c.g[row * c.k + q];
        const double* __restrict other = c.gt + q * c.m + first;
        for (std::int64_t i = 0; i < count; ++i) rank_k[i] += factor * other[i];
    }
    const double* __restrict inverse = c.inverse + j;
    for (std::int64_t i = 0; i < count; ++i) h[i] += inverse[i] * rank_k[i];
}

template <typename T>
void triangle(const WeighCall& c, const T* gram) {
    // strips of columns outermost: their part of gt and of the weights stays in the second-level cache
    for (std::int64_t first = 0; first < c.m; first += kStrip)
        for (std::int64_t row = first; row < c.m; ++row) strip(c, gram, row, first, std::min(kStrip, row + 1 - first));
}

}  // namespace

void weigh(const WeighCall& call, const double* gram) { triangle(call, gram); }
void weigh(const WeighCall& call, const float* gram) { triangle(call, gram); }

}  // namespace varpro::VARPRO_ISA
