// Phi^T Phi from memory, and the sum of its parts.
#include "scalarize_gram.cuh"

namespace varpro::cuda {
namespace {

constexpr std::int64_t kEnoughBlocks = 528;  // four to each multiprocessor of the largest device, whatever the device
constexpr int kWarps = 8;                    // of a block at most
constexpr int kSumThreads = 256;

/// A warp reads its columns of eight rows from memory; the next tile gets them from the first-level cache.
template <typename Real>
__global__ void __launch_bounds__(32 * kWarps)
    gram_kernel(const Real* phi, double* out, GramCut cut, std::int64_t n, std::int64_t images, std::int64_t slabs) {
    const std::int64_t problem = blockIdx.x / slabs, begin = blockIdx.x % slabs * images;
    const std::int64_t end = begin + images < n ? begin + images : n;
    const int columns = cut.columns, warps = blockDim.x / 32;
    GramSums sums(blockIdx.y * warps * kGramTiles + threadIdx.x / 32, warps);
    for (std::int64_t first = begin; first < end; first += kGramRows) {
        const Real* const rows = phi + (problem * n + first) * columns;
        const int left = static_cast<int>(end - first);
        sums.add(cut, [&](int k, int c) {
            return k < left && c < columns ? static_cast<double>(__ldg(rows + k * columns + c)) : 0.0;
        });
    }
    sums.write(cut, out + blockIdx.x * static_cast<std::int64_t>(columns) * columns);
}

__global__ void __launch_bounds__(kSumThreads)
    gram_sum_kernel(const double* parts, double* gram, std::int64_t problems, std::int64_t slabs, int columns) {
    const std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
    const std::int64_t size = static_cast<std::int64_t>(columns) * columns, problem = e / size, entry = e % size;
    if (problem >= problems || entry % columns > entry / columns) return;
    const double* const part = parts + problem * slabs * size + entry;
    double sum = 0;
    for (std::int64_t slab = 0; slab < slabs; ++slab) sum += part[slab * size];
    gram[e] = sum;
}

template <typename Real>
void launch_gram(const void* phi, double* out, const GramShare& share, std::int64_t problems, std::int64_t n,
                 std::int64_t columns, Stream stream) {
    const GramCut cut = gram_cut(columns);
    const int blocks = ceil_div(cut.tiles, kGramTiles * kWarps), warps = ceil_div(cut.tiles, kGramTiles * blocks);
    const dim3 grid(static_cast<unsigned>(problems * share.slabs), static_cast<unsigned>(blocks)), block(32 * warps);
    VARPRO_LAUNCH(gram_kernel<Real>, grid, block, 0, stream, static_cast<const Real*>(phi), out, cut, n, share.images,
                  share.slabs);
    check_launch("gram");
}

}  // namespace

GramShare gram_share(std::int64_t problems, std::int64_t n) {
    const std::int64_t wanted = ceil_div<std::int64_t>(ceil_div<std::int64_t>(problems * n, kEnoughBlocks), 16) * 16;
    const std::int64_t images = wanted < kGramImages ? wanted : kGramImages;
    return {images, ceil_div(n, images)};
}

std::int64_t gram_workspace(std::int64_t problems, std::int64_t n, std::int64_t columns) {
    if (problems == 0 || n == 0) return 0;
    const std::int64_t slabs = gram_share(problems, n).slabs;
    return slabs > 1 ? problems * slabs * columns * columns * std::int64_t{sizeof(double)} : 0;
}

void check_gram_workspace(const char* kernel, const void* workspace, std::int64_t bytes) {
    if (bytes > 0 && !workspace)
        throw LaunchError(std::string(kernel) + ": workspace is null; gram with these sizes needs " +
                          std::to_string(bytes) + " bytes");
}

void gram_alone(const void* phi, bool is_float, double* gram, void* workspace, std::int64_t problems, std::int64_t n,
                std::int64_t columns, Stream stream) {
    const GramShare share = gram_share(problems, n);
    double* const out = share.slabs > 1 ? static_cast<double*>(workspace) : gram;
    if (is_float)
        launch_gram<float>(phi, out, share, problems, n, columns, stream);
    else
        launch_gram<double>(phi, out, share, problems, n, columns, stream);
    if (share.slabs > 1) sum_gram(workspace, gram, problems, share.slabs, columns, stream);
}

void sum_gram(const void* parts, double* gram, std::int64_t problems, std::int64_t slabs, std::int64_t columns,
              Stream stream) {
    const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(problems * columns * columns, kSumThreads)));
    VARPRO_LAUNCH(gram_sum_kernel, grid, dim3(kSumThreads), 0, stream, static_cast<const double*>(parts), gram,
                  problems, slabs, static_cast<int>(columns));
    check_launch("gram");
}

}  // namespace varpro::cuda
