// The Hadamard assembly: one pass over the lower triangle, one tile of 64 x 64 per block.
//
// A thread owns sixteen entries, eight rows by two columns; the columns of a warp lie side by side, so that gram, ztz
// and h move in whole lines.  The rows of g that a tile needs pass through shared memory, eight of the k columns at a
// time; aat and gram_inverse are small and stay in the first-level cache.  The 2 k + 4 operations per entry are hidden
// behind its 16 to 24 bytes for k up to about 30.
#include "../kernels/gauss_newton.hpp"
#include "device.cuh"

namespace varpro::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 8;  // columns of g at a time
constexpr int kAcross = 32, kDown = 8;
constexpr int kRows = kTile / kDown, kColumns = kTile / kAcross;

/// The row of tiles in which tile t of a lower triangle lies, rows counted from the top.
__device__ __forceinline__ std::int64_t tile_row(std::int64_t t) {
    auto row = static_cast<std::int64_t>((sqrt(8.0 * static_cast<double>(t) + 1.0) - 1.0) / 2.0);
    while (row * (row + 1) / 2 > t) --row;  // the root may be off by one on either side
    while ((row + 1) * (row + 2) / 2 <= t) ++row;
    return row;
}

/// part[k][r] = g[first + r, k0 + k], zero past the end.
template <typename Real>
__device__ void load_rows(const Real* g, std::int64_t m, int width, std::int64_t first, int k0,
                          Real (&part)[kDepth][kTile]) {
    for (int e = threadIdx.y * kAcross + threadIdx.x; e < kDepth * kTile; e += kAcross * kDown) {
        const int k = e % kDepth, r = e / kDepth;
        const bool inside = first + r < m && k0 + k < width;
        part[k][r] = inside ? __ldg(g + (first + r) * width + k0 + k) : Real(0);
    }
}

template <typename Gram, typename Real>
__global__ void __launch_bounds__(kAcross* kDown) assemble_kernel(AssembleLaunch call, int tiles) {
    __shared__ Real g_rows[kDepth][kTile];
    __shared__ Real g_columns[kDepth][kTile];
    const std::int64_t problem = blockIdx.x / tiles, t = blockIdx.x % tiles, m = call.m, units = call.i;
    const std::int64_t down = tile_row(t), first_row = down * kTile, first_column = (t - down * (down + 1) / 2) * kTile;
    const int width = static_cast<int>(call.k), x = threadIdx.x, y = threadIdx.y;
    const auto* const gram = static_cast<const Gram*>(call.gram) + problem * m * m;
    const auto* const ztz = call.ztz ? static_cast<const Real*>(call.ztz) + problem * m * m : nullptr;
    const auto* const aat = static_cast<const Real*>(call.aat) + problem * units * units;
    auto* const __restrict__ h = static_cast<Real*>(call.h) + problem * m * m;

    Real product[kRows][kColumns] = {};
    if (call.gram_inverse) {
        const auto* const g = static_cast<const Real*>(call.g) + problem * m * width;
        for (int k0 = 0; k0 < width; k0 += kDepth) {
            if (k0 > 0) __syncthreads();  // the columns of g before these have been used
            load_rows(g, m, width, first_row, k0, g_rows);
            load_rows(g, m, width, first_column, k0, g_columns);
            __syncthreads();  // these are ready
#pragma unroll
            for (int k = 0; k < kDepth; ++k)
#pragma unroll
                for (int r = 0; r < kRows; ++r)
#pragma unroll
                    for (int c = 0; c < kColumns; ++c)
                        product[r][c] += g_rows[k][y + r * kDown] * g_columns[k][x + c * kAcross];
        }
    }

    const auto* const inverse =
        call.gram_inverse ? static_cast<const Real*>(call.gram_inverse) + problem * units * units : nullptr;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        const std::int64_t row = first_row + y + r * kDown;
        if (row >= m) continue;
        const std::int64_t of_row = __ldg(call.columns + row) * units;
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
            const std::int64_t column = first_column + x + c * kAcross, at = row * m + column;
            if (column > row) continue;
            const std::int64_t pair = of_row + __ldg(call.columns + column);
            Real curvature = static_cast<Real>(__ldg(gram + at));  // __ldg: no store to h makes the next one wait
            if (ztz) curvature -= __ldg(ztz + at);
            Real entry = __ldg(aat + pair) * curvature;
            if (inverse) entry += __ldg(inverse + pair) * product[r][c];
            if (row == column && call.lambda)
                entry += static_cast<const Real*>(call.lambda)[problem] *
                         static_cast<const Real*>(call.diagonal)[problem * m + row];
            h[at] = entry;
        }
    }
}

template <typename Gram, typename Real>
void launch_assemble(const AssembleLaunch& call, Stream stream) {
    const std::int64_t across = ceil_div<std::int64_t>(call.m, kTile), tiles = across * (across + 1) / 2;
    const dim3 grid(static_cast<unsigned>(call.problems * tiles)), block(kAcross, kDown);
    auto* const kernel = assemble_kernel<Gram, Real>;
    VARPRO_LAUNCH(kernel, grid, block, 0, stream, call, static_cast<int>(tiles));
    check_launch("assemble");
}

}  // namespace

void assemble(const AssembleLaunch& call, Stream stream) {
    if (call.problems == 0 || call.m == 0) return;
    if (call.h_is_float && !call.gram_is_float)
        throw LaunchError("assemble: gram in double and h in single precision; h needs the precision of gram or more");
    if (!call.lambda != !call.diagonal)
        throw LaunchError("assemble: lambda and diagonal are given together or not at all");
    if (call.h_is_float)
        launch_assemble<float, float>(call, stream);
    else if (call.gram_is_float)
        launch_assemble<float, double>(call, stream);
    else
        launch_assemble<double, double>(call, stream);
}

}  // namespace varpro::cuda
