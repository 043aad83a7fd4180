/// Phi^T Phi in double, lower triangle, along with the kernels that compute Phi: in tiles of 16 x 8 on tensor cores,
/// eight rows of Phi at a time, from shared memory while they are computed; or afterwards from memory, if a block does
/// not see all units or has too few warps.  Blocks that share a problem leave partial sums, added in order.
#pragma once

#include "mma.cuh"

namespace varpro::cuda {

constexpr std::int64_t kGramImages = 128;  // of a block at most: partial sums are then a few per cent of D

/// Images of a block, and blocks that share a problem, where Phi^T Phi is wanted; from the sizes alone.
struct GramShare {
    std::int64_t images, slabs;
};
GramShare gram_share(std::int64_t problems, std::int64_t n);
std::int64_t gram_workspace(std::int64_t problems, std::int64_t n, std::int64_t columns);
/// Throws where the workspace is missing.
void check_gram_workspace(const char* kernel, const void* workspace, std::int64_t bytes);

/// From phi (problems, n, columns) as it lies in memory.
void gram_alone(const void* phi, bool is_float, double* gram, void* workspace, std::int64_t problems, std::int64_t n,
                std::int64_t columns, Stream stream);
/// The parts (problems, slabs, columns, columns), first to last.
void sum_gram(const void* parts, double* gram, std::int64_t problems, std::int64_t slabs, std::int64_t columns,
              Stream stream);

namespace {

constexpr int kGramRows = 8;       // of Phi at a time
constexpr int kGramTiles = 2;      // per warp, so that their sums leave registers for the rest
constexpr int kGramThreads = 384;  // of a block that computes it with Phi: two such have 80 registers per thread

/// Tiles of the lower triangle; computed on the host.
struct GramCut {
    int columns, tiles;  // tiles of 16 x 8 in all
    int pitch, offset;   // from a row of Phi in shared memory to the next; of the first one; in doubles
};

inline GramCut gram_cut(std::int64_t columns) {
    GramCut cut{};
    cut.columns = static_cast<int>(columns);
    const int down = ceil_div(cut.columns, 16);
    cut.tiles = down * (down - 1) + ceil_div(cut.columns, 8);  // two more in each row, the last one cut off
    cut.pitch = 16 * down + 4;                                 // a multiple of 16, plus 4: no bank conflicts
    return cut;
}

/// The sums of a warp's tiles first, first + stride, ... of the triangle, as far as there are.
struct GramSums {
    double sum[kGramTiles][4] = {};
    int first, stride;

    __device__ __forceinline__ GramSums(int first_, int stride_) : first(first_), stride(stride_) {}

    /// at(k, c): entry of row k < 8 and column c of Phi, zero where there is none.
    template <typename At>
    __device__ __forceinline__ void add(const GramCut& cut, const At& at) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int s = 0; s < kGramTiles; ++s) {
            const int tile = first + s * stride;
            if (tile >= cut.tiles) continue;  // the same for a warp
            const int down = row_of_tiles(tile), i = 16 * down + g, j = 8 * (tile - down * (down + 1)) + g;
            double a[4], b[2];
#pragma unroll
            for (int e = 0; e < 4; ++e) a[e] = at(t + 4 * (e / 2), i + 8 * (e % 2));
#pragma unroll
            for (int e = 0; e < 2; ++e) b[e] = at(t + 4 * e, j);
            multiply_add(sum[s], a, b);
        }
    }

    __device__ __forceinline__ void write(const GramCut& cut, double* gram) const {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int s = 0; s < kGramTiles; ++s) {
            const int tile = first + s * stride, down = row_of_tiles(tile);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int i = 16 * down + g + 8 * (e / 2), j = 8 * (tile - down * (down + 1)) + 2 * t + e % 2;
                if (tile < cut.tiles && i < cut.columns && j <= i)
                    gram[static_cast<std::int64_t>(i) * cut.columns + j] = sum[s][e];
            }
        }
    }

    /// The row of tiles in which a tile lies, counted from the top: rows above it hold 2, 4, 6, ... tiles.
    static __device__ __forceinline__ int row_of_tiles(int tile) {
        int down = static_cast<int>(sqrtf(static_cast<float>(tile) + 0.25f) - 0.5f);
        while (down > 0 && down * (down + 1) > tile) --down;  // the root may be off by one on either side
        while ((down + 1) * (down + 2) <= tile) ++down;
        return down;
    }
};

/// Phi^T Phi of a block's images while Phi is computed.  The caller places the barriers: one between `put` and `add`,
/// one between `add` and the next `put`.
template <bool kGram>
struct GramPass {
    double* rows;  // (kGramRows, pitch) in shared memory
    GramSums sums;

    /// shared: the block's dynamic shared memory.
    __device__ __forceinline__ GramPass(const GramCut& cut, void* shared)
        : rows(static_cast<double*>(shared) + cut.offset), sums(threadIdx.x / 32, blockDim.x / 32) {
        for (int e = threadIdx.x; e < kGramRows * cut.pitch; e += blockDim.x)
            rows[e] = e % cut.pitch == cut.columns - 1 ? 1.0 : 0.0;
    }

    __device__ __forceinline__ void put(const GramCut& cut, int image, int unit, double value) {
        rows[image % kGramRows * cut.pitch + unit] = value;
    }

    /// Adds what has been put since the last time when `image` images, the last of them at the end or not, make eight.
    __device__ __forceinline__ void add(const GramCut& cut, int image, bool last) {
        const int filled = (image - 1) % kGramRows + 1;
        if (filled < kGramRows && !last) return;
        sums.add(cut, [&](int k, int c) { return k < filled ? rows[k * cut.pitch + c] : 0.0; });
    }

    /// To the caller's gram, or to this block's part of the workspace.
    __device__ __forceinline__ void write(const GramCut& cut, double* gram, void* workspace, std::int64_t problem,
                                          std::int64_t slab, std::int64_t slabs) const {
        const std::int64_t size = static_cast<std::int64_t>(cut.columns) * cut.columns;
        sums.write(
            cut, slabs > 1 ? static_cast<double*>(workspace) + (problem * slabs + slab) * size : gram + problem * size);
    }
};

/// For kernels without Phi^T Phi, because it is not wanted or is computed separately.
template <>
struct GramPass<false> {
    __device__ __forceinline__ GramPass(const GramCut&, void*) {}
    __device__ __forceinline__ void put(const GramCut&, int, int, double) {}
    __device__ __forceinline__ void add(const GramCut&, int, bool) {}
    __device__ __forceinline__ void write(const GramCut&, double*, void*, std::int64_t, std::int64_t,
                                          std::int64_t) const {}
};

/// Images of a block, for the cut of a kernel.
template <typename Cut>
void share_images(Cut& cut, std::int64_t images, std::int64_t n) {
    cut.images = static_cast<int>(images);
    cut.slabs = static_cast<int>(ceil_div(n, images));
}

/// Whether a block of this many warps, which needs `bytes` of shared memory for Phi, can compute Phi^T Phi as well; if
/// so, its cut and bytes are changed accordingly.
template <typename Cut>
bool take_gram(Cut& cut, std::int64_t problems, std::int64_t n, std::int64_t units, int warps, std::int64_t& bytes) {
    GramCut gram = gram_cut(units + 1);
    gram.offset = static_cast<int>(ceil_div<std::int64_t>(bytes, sizeof(double)));
    const std::int64_t with_rows = (gram.offset + kGramRows * gram.pitch) * std::int64_t{sizeof(double)};
    if (cut.tile < units || gram.tiles > kGramTiles * warps || 32 * warps > kGramThreads || with_rows > kSharedBytes)
        return false;
    cut.gram = gram;
    share_images(cut, gram_share(problems, n).images, n);
    bytes = with_rows;
    return true;
}

/// What is left to do for call.gram after the kernel that computed Phi.
template <typename Call>
void finish_gram(const Call& call, std::int64_t slabs, bool beside, Stream stream) {
    if (!call.gram) return;
    if (!beside)
        gram_alone(call.phi, call.w_is_float, call.gram, call.workspace, call.problems, call.n, call.units + 1, stream);
    else if (slabs > 1)
        sum_gram(call.workspace, call.gram, call.problems, slabs, call.units + 1, stream);
}

}  // namespace
}  // namespace varpro::cuda
