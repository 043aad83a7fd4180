// Class moments in three launches: the samples of each class in their order; then, with a block for 32 columns of a
// class, the sums, and the centring while the columns lie in the second-level cache; then the sum of the squares.
//
// A warp reads 32 columns of one sample side by side.  All that the kernels need of the labels is in order and first,
// which softmax_divergence uses as well.
#include "../kernels/class_moments.hpp"
#include "rows.cuh"

namespace varpro::cuda {
namespace {

/// One warp per class: it counts the samples of lower classes, then puts its own behind them, 32 labels at a time.
__global__ void __launch_bounds__(kWarp* kWarps) order_kernel(ClassOrderLaunch call) {
    const std::int64_t which = warp_number();
    if (which >= call.problems * call.classes) return;
    const std::int64_t problem = which / call.classes;
    const int c = static_cast<int>(which % call.classes), lane = threadIdx.x % kWarp, n = static_cast<int>(call.n);
    const std::int32_t* const position = call.position + problem * call.n;
    std::int32_t* const first = call.first + problem * (call.classes + 1);
    int place = 0;
    for (int base = 0; base < n; base += kWarp) {
        const bool lower = base + lane < n && __ldg(position + base + lane) < c;
        place += __popc(__ballot_sync(kAllLanes, lower));
    }
    if (lane == 0) {
        first[c] = place;
        if (c == call.classes - 1) first[c + 1] = n;
    }
    for (int base = 0; base < n; base += kWarp) {
        const bool own = base + lane < n && __ldg(position + base + lane) == c;
        const unsigned all = __ballot_sync(kAllLanes, own);
        if (own) call.order[problem * call.n + place + __popc(all & ((1u << lane) - 1))] = base + lane;
        place += __popc(all);
    }
}

template <typename Feature>
__global__ void __launch_bounds__(kWarp* kWarps) moments_kernel(ClassMomentsLaunch call) {
    __shared__ double parts[kWarps][kWarp];
    const Tile at = tile_of(call.first, call.classes, call.d);
    const std::int32_t* const order = call.order + at.problem * call.n;
    const std::int64_t start = at.problem * call.n * call.d + at.column;
    const Feature* const f = static_cast<const Feature*>(call.f) + start;

    double sum = 0;
    if (at.inside)
        for (int k = at.begin + static_cast<int>(threadIdx.y); k < at.end; k += kWarps)
            sum += static_cast<double>(__ldg(f + __ldg(order + k) * call.d));
    const double total = column_sum(parts, sum);
    const double mean = at.end > at.begin ? total / (at.end - at.begin) : 0.0;
    if (at.inside && threadIdx.y == 0) call.means[(at.problem * call.classes + at.c) * call.d + at.column] = mean;

    double square = 0;
    if (at.inside)
        for (int k = at.begin + static_cast<int>(threadIdx.y); k < at.end; k += kWarps) {
            const std::int64_t row = __ldg(order + k) * call.d;
            const double away = static_cast<double>(__ldg(f + row)) - mean;
            if (call.h) call.h[start + row] = away;
            square += away * away;
        }
    __syncthreads();  // the parts of the mean have been used
    const double of_column = column_sum(parts, square);
    if (threadIdx.y > 0) return;
    const double of_tile = warp_sum(of_column);
    if (threadIdx.x == 0) static_cast<double*>(call.workspace)[blockIdx.x] = of_tile;
}

/// The squares of all tiles of a class, first to last.
__global__ void __launch_bounds__(kWarp* kWarps) within_kernel(ClassMomentsLaunch call) {
    const std::int64_t which = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (which >= call.problems * call.classes) return;
    const std::int64_t tiles = tiles_of(call.d);
    const double* const parts = static_cast<const double*>(call.workspace) + which * tiles;
    double sum = 0;
    for (std::int64_t tile = 0; tile < tiles; ++tile) sum += parts[tile];
    call.within[which] = sum;
}

}  // namespace

void class_order(const ClassOrderLaunch& call, Stream stream) {
    if (call.problems == 0 || call.classes == 0) return;
    VARPRO_LAUNCH(order_kernel, grid_of_warps(call.problems * call.classes), dim3(kWarp * kWarps), 0, stream, call);
    check_launch("class_order");
}

std::int64_t class_moments_workspace(const ClassMomentsLaunch& call) {
    return call.problems * call.classes * ceil_div<std::int64_t>(call.d, kWarp) * std::int64_t{sizeof(double)};
}

void class_moments(const ClassMomentsLaunch& call, Stream stream) {
    const std::int64_t bytes = class_moments_workspace(call);
    if (bytes == 0) return;
    if (!call.workspace)
        throw LaunchError("class_moments: workspace is null; these sizes need " + std::to_string(bytes) + " bytes");
    const dim3 grid = grid_of_tiles(call.problems, call.classes, call.d), block(kWarp, kWarps);
    auto* const kernel = call.f_is_float ? moments_kernel<float> : moments_kernel<double>;
    VARPRO_LAUNCH(kernel, grid, block, 0, stream, call);
    check_launch("class_moments");
    const dim3 sums(static_cast<unsigned>(ceil_div<std::int64_t>(call.problems * call.classes, kWarp * kWarps)));
    VARPRO_LAUNCH(within_kernel, sums, dim3(kWarp * kWarps), 0, stream, call);
    check_launch("class_moments");
}

}  // namespace varpro::cuda
