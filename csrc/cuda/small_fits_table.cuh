/// The products of columns that small fits sum, in the order of their sums, and how a kernel reads its data.
#pragma once

#include "small_fits_plan.cuh"

namespace varpro::cuda {
namespace {

__device__ __forceinline__ double number_at(const void* from, bool is_float, std::int64_t at) {
    return is_float ? static_cast<double>(__ldg(static_cast<const float*>(from) + at))
                    : __ldg(static_cast<const double*>(from) + at);
}

/// The products in the order of their sums: right-hand sides, their squares, Phi^T Phi; D^T D, D^T Phi, D^T R, R_q^T
/// R_q. A row of the stage is [Phi | R | D].
__device__ void make_table(const SmallLaunch& call, const Plan& plan, Product* table) {
    const int i = static_cast<int>(call.i), k = static_cast<int>(call.k), m = static_cast<int>(call.m);
    const int r = i, d = i + k, threads = blockDim.x;
    Product* const squares = table + plan.n_right;
    Product* const products = squares + k;
    Product* const pairs = products + plan.n_products;
    Product* const cross = pairs + lower_place(m, 0);
    Product* const moment = cross + m * i;
    const auto product = [](int one, int other) {
        return Product{static_cast<unsigned char>(one), static_cast<unsigned char>(other)};
    };
    for (int j = threadIdx.x; j < i; j += threads) {
        for (int l = 0; l <= j; ++l) products[lower_place(j, l)] = product(j, l);
        for (int q = 0; q < k; ++q) table[q * i + j] = product(r + q, j);
    }
    for (int s = threadIdx.x; s < m; s += threads) {
        for (int u = 0; u <= s; ++u) pairs[lower_place(s, u)] = product(d + s, d + u);
        for (int j = 0; j < i; ++j) cross[s * i + j] = product(d + s, j);
        for (int q = 0; q < k; ++q) moment[s * k + q] = product(d + s, r + q);
    }
    for (int q = threadIdx.x; q < k; q += threads) squares[q] = moment[m * k + q] = product(r + q, r + q);
}

}  // namespace
}  // namespace varpro::cuda
