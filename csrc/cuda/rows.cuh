/// Kernels on rows of features: one warp per row, or a block of 32 columns by eight rows on the samples of a class.
#pragma once

#include "device.cuh"

namespace varpro::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 8;  // of a block, and rows of a class that it reads at a time
constexpr unsigned kAllLanes = 0xffffffffu;

/// The same sum in every lane, with pairs added in the same order.
__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
    for (int with = kWarp / 2; with > 0; with /= 2) value += __shfl_xor_sync(kAllLanes, value, with);
    return value;
}

__device__ __forceinline__ double warp_max(double value) {
#pragma unroll
    for (int with = kWarp / 2; with > 0; with /= 2) value = fmax(value, __shfl_xor_sync(kAllLanes, value, with));
    return value;
}

/// The row or class of a warp, out of `count`; the launch may have more warps than that.
__device__ __forceinline__ std::int64_t warp_number() {
    return static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
}

inline dim3 grid_of_warps(std::int64_t count) {
    return dim3(static_cast<unsigned>(ceil_div<std::int64_t>(count, kWarps)));
}

__device__ __forceinline__ std::int64_t tiles_of(std::int64_t width) { return (width + kWarp - 1) / kWarp; }

/// The block's part of a class: 32 columns, of which this thread has one, and every eighth sample.
struct Tile {
    std::int64_t problem, c, tile, column;
    int begin, end;  // into order, first to one past the last sample of the class
    bool inside;     // whether there is such a column
};

__device__ __forceinline__ Tile tile_of(const std::int32_t* first, std::int64_t classes, std::int64_t width) {
    const std::int64_t tiles = tiles_of(width), which = blockIdx.x / tiles;
    Tile at;
    at.tile = blockIdx.x % tiles;
    at.problem = which / classes;
    at.c = which % classes;
    at.column = at.tile * kWarp + threadIdx.x;
    const std::int32_t* const place = first + at.problem * (classes + 1) + at.c;
    at.begin = __ldg(place);
    at.end = __ldg(place + 1);
    at.inside = at.column < width;
    return at;
}

inline dim3 grid_of_tiles(std::int64_t problems, std::int64_t classes, std::int64_t width) {
    return dim3(static_cast<unsigned>(problems * classes * ceil_div<std::int64_t>(width, kWarp)));
}

/// For each thread the sum over the eight rows of its column, in their order; parts is free again after the next
/// barrier.
__device__ __forceinline__ double column_sum(double (&parts)[kWarps][kWarp], double own) {
    parts[threadIdx.y][threadIdx.x] = own;
    __syncthreads();  // all parts are ready
    double sum = 0;
#pragma unroll
    for (int row = 0; row < kWarps; ++row) sum += parts[row][threadIdx.x];
    return sum;
}

}  // namespace
}  // namespace varpro::cuda
