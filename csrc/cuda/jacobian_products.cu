// D^T [U R] on tensor cores: a warp sums for sixteen columns of D, so that D is loaded once from memory to registers.
//
// Two columns side by side are two rows of the warp's product, so a lane loads sixteen bytes and four rows of a warp's
// load are whole lines; two steps of loads are under way while a third is multiplied.  [U R] passes through shared
// memory, 16 rows at a time, and is the same for all warps of a block.  61 columns of [U R] are 15 operations per byte
// of D in double: more than the ordinary units manage at the speed of the memory (10), less than tensor cores (20).
#include "../kernels/jacobian_products.hpp"
#include "mma.cuh"

namespace varpro::cuda {
namespace {

constexpr int kColumns = 16;            // of D, a warp
constexpr int kStep = 8;                // rows of D per product
constexpr int kAhead = 2;               // steps of loads under way
constexpr int kDepth = kAhead * kStep;  // rows of [U R] in shared memory at a time
constexpr int kWidest = 4;              // pairs of products side by side, 16 columns of [U R] each: 64 per block
constexpr int kEnoughBlocks = 528;  // four to each multiprocessor of the largest device; the same for all devices, so
                                    // that they give the same sums
constexpr std::int64_t kLeastRows = 128;  // of D per block, so that partial sums move less than D does
constexpr int kSumThreads = 256;

constexpr int kWarps = 12;  // of a block, at most: they use all registers of a multiprocessor
/// The number of warps is a multiple of this, so that their threads are a multiple of the 16 `pairs` columns of [U R].
constexpr int warps_together(int pairs) { return pairs == 3 ? 3 : pairs == 4 ? 2 : 1; }

/// How the launch is cut; computed once on the host.
struct Cut {
    int chunks, pairs;           // of the columns of [U R]; pairs of products in each
    int warps, across;           // blocks side by side over the columns of D
    int splits;                  // blocks that share the rows of a problem
    std::int64_t rows, columns;  // of a split; of [U R]
};

template <typename T>
struct alignas(2 * sizeof(T)) Pair {
    T v[2];
};

/// Where a lane reads D: its two columns of rows t and t + 4 of each step, step after step.
template <typename Jacobian, bool kTogether>
struct Reader {
    const Jacobian* next;
    std::int64_t stride;
    int left, apart;  // rows from the next one on; from the first column to the second

    __device__ __forceinline__ void step(Pair<Jacobian> (&rows)[2]) {
#pragma unroll
        for (int half = 0; half < 2; ++half) rows[half] = row(next + 4 * half * stride, left > 4 * half);
        next += kStep * stride;
        left -= kStep;
    }

    __device__ __forceinline__ Pair<Jacobian> row(const Jacobian* from, bool inside) const {
        Pair<Jacobian> pair{};
        if (!inside) return pair;
        if (kTogether) return *reinterpret_cast<const Pair<Jacobian>*>(from);
        pair.v[0] = __ldg(from);
        pair.v[1] = __ldg(from + apart);
        return pair;
    }
};

/// Brings [U R] to shared memory, 16 rows at a time, zero past the end of rows and columns: loaded into registers
/// before the products with the preceding tile, and stored after them.  A thread keeps to one column.
template <int kPairs>
struct Loader {
    static constexpr int kWidth = 16 * kPairs, kStride = kWidth + 4;
    static constexpr int kHeld = ceil_div(kDepth, 32 * kWarps / kWidth);

    const double* next;           // of this thread's column, from its first row of the next tile on
    int stride, row, down, left;  // row of a tile, and to this thread's next one; rows from `next` to the end
    double held[kHeld];

    __device__ __forceinline__ double entry(int i) const {
        return i * down < left ? __ldg(next + i * down * stride) : 0.0;
    }

    __device__ __forceinline__ void fetch() {
#pragma unroll
        for (int i = 0; i < kHeld; ++i) held[i] = row + i * down < kDepth ? entry(i) : 0.0;
    }

    __device__ __forceinline__ void put_down(double* tile) {
        double* const to = tile + row * kStride + threadIdx.x % kWidth;
#pragma unroll
        for (int i = 0; i < kHeld; ++i)
            if (row + i * down < kDepth) to[i * down * kStride] = held[i];
#pragma unroll 1
        for (int i = kHeld; row + i * down < kDepth; ++i) to[i * down * kStride] = entry(i);  // where warps are few
        next += kDepth * stride;
        left -= kDepth;
    }
};

template <int kPairs>
__device__ __forceinline__ Loader<kPairs> loader_of(const JacobianProductsLaunch& call, std::int64_t first, int n,
                                                    int chunk) {
    constexpr int kWidth = 16 * kPairs;
    const int thread = threadIdx.x, row = thread / kWidth, column = chunk * kWidth + thread % kWidth;
    const int rank = static_cast<int>(call.rank), k = static_cast<int>(call.k);
    const int last = column < rank + k ? column : rank + k - 1, stride = last < rank ? rank : k;
    const double* const of_row = last < rank ? call.u + last : call.r + last - rank;
    return {of_row + (first + row) * stride, stride, row, static_cast<int>(blockDim.x) / kWidth,
            column < rank + k ? n - row : 0, {}};
}

/// sum over the eight rows of `rows` (row t of the step at this lane's place) of D's columns times those of [U R].
template <int kPairs, typename Jacobian>
__device__ __forceinline__ void multiply(const Pair<Jacobian> (&d)[2], const double* rows,
                                         double (&sum)[2 * kPairs][4]) {
    constexpr int kStride = 16 * kPairs + 4;  // 4 past a multiple of 16: no two lanes of a quarter warp in one bank
    const double a[4] = {static_cast<double>(d[0].v[0]), static_cast<double>(d[0].v[1]), static_cast<double>(d[1].v[0]),
                         static_cast<double>(d[1].v[1])};
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
        const auto upper = *reinterpret_cast<const Pair<double>*>(rows + 16 * pair);
        const auto lower = *reinterpret_cast<const Pair<double>*>(rows + 4 * kStride + 16 * pair);
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
            const double b[2] = {upper.v[odd], lower.v[odd]};
            multiply_add(sum[2 * pair + odd], a, b);
        }
    }
}

/// Stores a sum where it belongs: z, g, or this split's part of the workspace.
__device__ __forceinline__ void put(const JacobianProductsLaunch& call, const Cut& cut, std::int64_t problem, int split,
                                    std::int64_t column, std::int64_t m, double value) {
    if (cut.splits > 1)
        static_cast<double*>(call.workspace)[((problem * cut.splits + split) * cut.columns + column) * call.m + m] =
            value;
    else if (column < call.rank)
        call.z[(problem * call.rank + column) * call.m + m] = value;
    else
        call.g[(problem * call.m + m) * call.k + column - call.rank] = value;
}

template <typename Jacobian, bool kTogether, int kPairs>
__global__ void __launch_bounds__(32 * kWarps, 1) products_kernel(JacobianProductsLaunch call, Cut cut) {
    constexpr int kWidth = 16 * kPairs, kTile = kDepth * (kWidth + 4);
    VARPRO_DYNAMIC_SHARED(double, shared);
    const int chunk = blockIdx.x % cut.chunks, split = blockIdx.x / cut.chunks % cut.splits;
    const int rest = blockIdx.x / cut.chunks / cut.splits, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const std::int64_t problem = rest / cut.across, begin = split * cut.rows, row = problem * call.n + begin;
    const std::int64_t m = ((rest % cut.across) * cut.warps + threadIdx.x / 32) * kColumns + 2 * g;
    const int n = static_cast<int>(begin + cut.rows < call.n ? cut.rows : call.n - begin);
    const bool works = m - 2 * g < call.m;  // the same for a warp

    // Past the last column the last one is read again: the result is not written.
    const std::int64_t column = m < call.m ? m : call.m - 1 - kTogether;
    const auto* const d = static_cast<const Jacobian*>(call.d) + (row + t) * call.m + column;
    Reader<Jacobian, kTogether> reader{d, call.m, n - t, m + 1 < call.m};
    auto loader = loader_of<kPairs>(call, row, n, chunk);
    double sum[2 * kPairs][4] = {};
    Pair<Jacobian> ahead[kAhead][2];
#pragma unroll
    for (int step = 0; step < kAhead; ++step) reader.step(ahead[step]);
    loader.fetch();
    loader.put_down(shared);
    double *tile = shared, *other = shared + kTile;
    for (int first = 0; first < n; first += kDepth) {
        __syncthreads();  // this tile is ready, and the one before has been used
        const bool more = first + kDepth < n;
        if (more) loader.fetch();
        if (works) {
#pragma unroll
            for (int step = 0; step < kAhead; ++step) {
                const Pair<Jacobian> now[2] = {ahead[step][0], ahead[step][1]};
                reader.step(ahead[step]);
                multiply<kPairs>(now, tile + (step * kStep + t) * (kWidth + 4) + 2 * g, sum);
            }
        }
        if (more) loader.put_down(other);
        double* const used = tile;
        tile = other;
        other = used;
    }

#pragma unroll
    for (int product = 0; product < 2 * kPairs; ++product)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const std::int64_t column = chunk * kWidth + 16 * (product / 2) + 4 * t + 2 * (e % 2) + product % 2;
            if (column < cut.columns && m + e / 2 < call.m)
                put(call, cut, problem, split, column, m + e / 2, sum[product][e]);
        }
}

/// The parts of all splits, first to last.
__global__ void __launch_bounds__(kSumThreads) products_sum_kernel(JacobianProductsLaunch call, Cut cut) {
    const std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
    const std::int64_t size = cut.columns * call.m, problem = e / size, entry = e % size;
    if (problem >= call.problems) return;
    const double* const parts = static_cast<const double*>(call.workspace) + problem * cut.splits * size + entry;
    double sum = 0;
    for (int split = 0; split < cut.splits; ++split) sum += parts[split * size];
    Cut whole = cut;
    whole.splits = 1;
    put(call, whole, problem, 0, entry / call.m, entry % call.m, sum);
}

Cut cut_of(const JacobianProductsLaunch& call) {
    Cut cut{};
    cut.columns = call.rank + call.k;
    cut.chunks = static_cast<int>(ceil_div<std::int64_t>(cut.columns, 16 * kWidest));
    cut.pairs = static_cast<int>(ceil_div<std::int64_t>(cut.columns, 16 * cut.chunks));  // even chunks
    const std::int64_t strips = ceil_div<std::int64_t>(call.m, kColumns);
    cut.across = static_cast<int>(ceil_div<std::int64_t>(strips, kWarps));
    const int together = warps_together(cut.pairs);
    cut.warps = static_cast<int>(ceil_div<std::int64_t>(strips, cut.across * together)) * together;
    const std::int64_t wanted = ceil_div<std::int64_t>(kEnoughBlocks, call.problems * cut.across * cut.chunks);
    const std::int64_t most = ceil_div<std::int64_t>(call.n, kLeastRows), fewest = wanted < most ? wanted : most;
    cut.rows = fewest > 1 ? ceil_div<std::int64_t>(ceil_div(call.n, fewest), kDepth) * kDepth : call.n;
    cut.splits = fewest > 1 ? static_cast<int>(ceil_div(call.n, cut.rows)) : 1;
    return cut;
}

template <typename Jacobian, bool kTogether>
void launch_products(const JacobianProductsLaunch& call, const Cut& cut, Stream stream) {
    constexpr void (*kernels[kWidest])(JacobianProductsLaunch, Cut) = {
        products_kernel<Jacobian, kTogether, 1>, products_kernel<Jacobian, kTogether, 2>,
        products_kernel<Jacobian, kTogether, 3>, products_kernel<Jacobian, kTogether, 4>};
    const dim3 grid(static_cast<unsigned>(call.problems * cut.across * cut.splits * cut.chunks)), block(32 * cut.warps);
    auto* const kernel = kernels[cut.pairs - 1];
    VARPRO_LAUNCH(kernel, grid, block, 2 * kDepth * (16 * cut.pairs + 4) * sizeof(double), stream, call, cut);
    check_launch("jacobian_products");
}

template <typename Jacobian>
void launch_products(const JacobianProductsLaunch& call, const Cut& cut, Stream stream) {
    const bool aligned = reinterpret_cast<std::uintptr_t>(call.d) % sizeof(Pair<Jacobian>) == 0;
    if (call.m % 2 == 0 && aligned)
        launch_products<Jacobian, true>(call, cut, stream);
    else
        launch_products<Jacobian, false>(call, cut, stream);
}

bool is_empty(const JacobianProductsLaunch& call) {
    return call.problems == 0 || call.m == 0 || call.rank + call.k == 0;
}

}  // namespace

std::int64_t jacobian_products_workspace(const JacobianProductsLaunch& call) {
    if (is_empty(call)) return 0;
    const Cut cut = cut_of(call);
    return cut.splits > 1 ? call.problems * cut.splits * cut.columns * call.m * std::int64_t{sizeof(double)} : 0;
}

void jacobian_products(const JacobianProductsLaunch& call, Stream stream) {
    if (is_empty(call)) return;
    const Cut cut = cut_of(call);
    if (cut.splits > 1 && !call.workspace)
        throw LaunchError("jacobian_products: workspace is null; these sizes need " +
                          std::to_string(jacobian_products_workspace(call)) + " bytes");
    if (call.d_is_float)
        launch_products<float>(call, cut, stream);
    else
        launch_products<double>(call, cut, stream);
    if (cut.splits == 1) return;
    const std::int64_t sums = call.problems * cut.columns * call.m;
    const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(sums, kSumThreads))), block(kSumThreads);
    VARPRO_LAUNCH(products_sum_kernel, grid, block, 0, stream, call, cut);
    check_launch("jacobian_products");
}

}  // namespace varpro::cuda
