// Quadratic units: S_c w_i of a pair of images at a time, in registers; then q, sigma and the columns of D.
//
// A thread owns one unit and four rows l of Z = S w.  A step k of its sum takes one w[k, i] (its neighbours take the
// next ones) and, for each image, four S[k, l] that a whole warp reads at once: eight multiply-adds for five or so
// reads of shared memory.  S is symmetric, so the four lie side by side.  w stays in shared memory for all images of a
// block. Traffic of a block is D going out: the floor is memory, not arithmetic (28 x 28, 50 units: 4 flops a byte of
// D).
#include "gram.cuh"
#include "units.cuh"

namespace varpro::cuda {
namespace {

/// How a block cuts its work; computed once on the host.
struct Cut {
    int side, padded, depth;  // padded: side to a multiple of kRows; depth: rows of S in shared memory at a time
    int groups, tile;         // threads = groups (of kRows rows) x tile (units)
    int colours, rows;        // colours: rows of g, 0 for one plane; rows of w
    int images, slabs;        // of a block; blocks that share a problem's images
    GramCut gram;
};

/// strip[image][k][l] = S[first + k, l] for both images of the pair, zero where there is no such row, column or image.
template <typename Real>
__device__ void load_strip(const QuadraticLaunch& call, const Cut& cut, std::int64_t problem, std::int64_t pair,
                           int plane, int first, Real* strip) {
    const int area = cut.depth * cut.padded;
    for (int e = threadIdx.x; e < kImages * area; e += blockDim.x) {
        const int image = e / area, k = first + e % area / cut.padded, l = e % cut.padded;
        const std::int64_t n = pair + image;
        Real value = 0;
        if (n < call.n && k < cut.side && l < cut.side) {
            const std::int64_t place = problem * call.n + n;
            const std::int64_t row = call.index ? static_cast<std::int64_t>(__ldg(call.index + place)) : place;
            const std::int64_t start = (row * call.planes + plane) * cut.side * cut.side;
            value = pixel_at<Real>(call.images, call.pixel, start + k * cut.side + l) +
                    pixel_at<Real>(call.images, call.pixel, start + l * cut.side + k);
        }
        strip[e] = value;
    }
}

/// What a block works on: its places in shared memory, and where its problem and its units begin outside.
template <typename Real, typename Jacobian>
struct Place {
    Real *strip, *w_tile;      // (kImages, depth, padded), (side, tile)
    Real *partial, *slope;     // (planes, kImages, groups, tile), (kImages, tile)
    const Real *w, *g, *bias;  // of the first unit, stride units
    Real* phi;                 // of the problem
    Jacobian* d;               // of the problem's first image and the first unit, or null
    std::int64_t problem, units;
    int first_unit, here;  // here: units of this tile
};

template <typename Real, typename Jacobian>
__device__ __forceinline__ Place<Real, Jacobian> place_of(const QuadraticLaunch& call, const Cut& cut, Real* shared) {
    Place<Real, Jacobian> at;
    at.strip = shared;
    at.w_tile = at.strip + kImages * cut.depth * cut.padded;
    at.partial = at.w_tile + cut.side * cut.tile;
    at.slope = at.partial + call.planes * kImages * cut.groups * cut.tile;
    at.problem = blockIdx.x / cut.slabs;
    at.units = call.units;
    at.first_unit = blockIdx.y * cut.tile;
    at.here = at.units - at.first_unit < cut.tile ? static_cast<int>(at.units - at.first_unit) : cut.tile;
    at.w = static_cast<const Real*>(call.w) + at.problem * cut.rows * at.units + at.first_unit;
    at.g = at.w + cut.side * at.units;
    at.bias = at.w + (cut.rows - 1) * at.units;
    at.phi = static_cast<Real*>(call.phi) + at.problem * call.n * (at.units + 1);
    at.d =
        call.d ? static_cast<Jacobian*>(call.d) + at.problem * call.n * cut.rows * at.units + at.first_unit : nullptr;
    return at;
}

/// The thread's part of 1/2 w^T S_c w into partial, and with colours z += g_c S_c w.
template <bool kColour, typename Real, typename Jacobian>
__device__ __forceinline__ void finish_plane(const Cut& cut, const Place<Real, Jacobian>& at, int plane, int group,
                                             int unit, const Real (&sum)[kImages][kRows], Real (&z)[kImages][kRows]) {
    const int l = group * kRows;
    const Real weight = kColour ? __ldg(at.g + plane * at.units + unit) : Real(1);
#pragma unroll
    for (int image = 0; image < kImages; ++image) {
        Real half = 0;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (l + r < cut.side) half += at.w_tile[(l + r) * cut.tile + unit] * sum[image][r];
            if (kColour) z[image][r] += weight * sum[image][r];
        }
        at.partial[((plane * kImages + image) * cut.groups + group) * cut.tile + unit] = Real(0.5) * half;
    }
}

/// phi, the slopes, and the columns of D that belong to g and the bias, for both images: a thread an image and unit.
template <bool kColour, bool kGram, typename Real, typename Jacobian>
__device__ __forceinline__ void finish_values(const QuadraticLaunch& call, const Cut& cut,
                                              const Place<Real, Jacobian>& at, std::int64_t begin, std::int64_t pair,
                                              GramPass<kGram>& gram) {
    for (int e = threadIdx.x; e < kImages * cut.tile; e += blockDim.x) {
        const int image = e / cut.tile, i = e % cut.tile;
        const std::int64_t n = pair + image;
        if (i >= at.here || n >= call.n) continue;
        Real q = __ldg(at.bias + i);
        for (int plane = 0; plane < static_cast<int>(call.planes); ++plane) {
            Real* const parts = at.partial + (plane * kImages + image) * cut.groups * cut.tile + i;
            Real colour = 0;
            for (int part = 0; part < cut.groups; ++part) colour += parts[part * cut.tile];
            parts[0] = colour;  // read below by this thread alone
            q += (kColour ? __ldg(at.g + plane * at.units + i) : Real(1)) * colour;
        }
        const Real value = sigmoid(q, call.logistic), derivative = slope_of(value, call.logistic);
        Real* const phi = at.phi + n * (at.units + 1);
        phi[at.first_unit + i] = value;
        if (at.first_unit + i == at.units - 1) phi[at.units] = Real(1);
        at.slope[e] = derivative;
        gram.put(cut.gram, static_cast<int>(n - begin), i, value);
        if (!at.d) continue;
        Jacobian* const d = at.d + n * cut.rows * at.units + i;
        for (int plane = 0; plane < cut.colours; ++plane) {
            const Real colour = at.partial[(plane * kImages + image) * cut.groups * cut.tile + i];
            d[(cut.side + plane) * at.units] = static_cast<Jacobian>(colour * derivative);
        }
        d[(cut.rows - 1) * at.units] = static_cast<Jacobian>(derivative);
    }
}

/// kColour: more planes than one, so that a sum over planes is kept beside the sum of this plane.  kGram: Phi^T Phi
/// beside.
template <typename Real, typename Jacobian, bool kColour, bool kGram>
__global__ void __launch_bounds__(kGram && !kColour ? kGramThreads : kThreads, kColour ? 1 : 2)
    quadratic_kernel(QuadraticLaunch call, Cut cut) {
    VARPRO_DYNAMIC_SHARED(Real, shared);
    const auto at = place_of<Real, Jacobian>(call, cut, shared);
    const int thread = threadIdx.x, unit = thread % cut.tile, group = thread / cut.tile, l = group * kRows;
    const bool works = group < cut.groups && unit < at.here;

    for (int e = thread; e < cut.side * cut.tile; e += blockDim.x)
        at.w_tile[e] = e % cut.tile < at.here ? __ldg(at.w + e / cut.tile * at.units + e % cut.tile) : Real(0);

    GramPass<kGram> gram(cut.gram, shared);

    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x % cut.slabs) * cut.images;
    const std::int64_t end = begin + cut.images < call.n ? begin + cut.images : call.n;
    for (std::int64_t pair = begin; pair < end; pair += kImages) {
        Real z[kImages][kRows] = {};
        for (int plane = 0; plane < static_cast<int>(call.planes); ++plane) {
            Real own[kImages][kRows] = {};
            Real(&sum)[kImages][kRows] = kColour ? own : z;
            for (int first = 0; first < cut.side; first += cut.depth) {
                if (plane > 0 || first > 0) __syncthreads();  // the strip before this one has been used
                load_strip(call, cut, at.problem, pair, plane, first, at.strip);
                __syncthreads();  // the strip, and at first w, is there
                if (works) {
                    const int steps = cut.side - first < cut.depth ? cut.side - first : cut.depth;
                    accumulate(at.strip + l, cut.padded, cut.depth * cut.padded, at.w_tile + first * cut.tile + unit,
                               cut.tile, steps, sum);
                }
            }
            if (works) finish_plane<kColour>(cut, at, plane, group, unit, sum, z);
        }
        __syncthreads();  // all parts of 1/2 w^T S w are there, and the last strip has been used
        finish_values<kColour, kGram>(call, cut, at, begin, pair, gram);
        if (!kGram && !at.d) continue;  // the same for all threads
        __syncthreads();                // the slopes, and the rows of Phi, are there
        const bool last = pair + kImages >= end;
        gram.add(cut.gram, static_cast<int>((last ? end : pair + kImages) - begin), last);
        if (works && (!kGram || at.d))
            write_rows(at.d + (pair * cut.rows + l) * at.units + unit, cut.rows * at.units, at.units, cut.side - l,
                       at.slope + unit, cut.tile, call.n - pair, z);
    }
    gram.write(cut.gram, call.gram, call.workspace, at.problem, blockIdx.x % cut.slabs, cut.slabs);
}

/// Numbers of shared memory for each unit of a tile: its column of w, the partial sums and the slopes.
std::int64_t shared_per_unit(const QuadraticLaunch& call, const Cut& cut) {
    return cut.side + (call.planes * cut.groups + 1) * kImages;
}

/// A tile of no units where the planes are too many for shared memory.
template <typename Real>
Cut cut_of(const QuadraticLaunch& call) {
    Cut cut{};
    cut.side = static_cast<int>(call.side);
    cut.groups = ceil_div(cut.side, kRows);
    cut.padded = cut.groups * kRows;
    const int fitting = kStripBytes / static_cast<int>(kImages * cut.padded * sizeof(Real));
    cut.depth = fitting < 1 ? 1 : fitting < cut.side ? fitting : cut.side;
    const std::int64_t left = kSharedBytes / sizeof(Real) - kImages * cut.depth * cut.padded;
    const std::int64_t by_memory = left / shared_per_unit(call, cut), by_threads = kThreads / cut.groups;
    const std::int64_t widest = by_memory < by_threads ? by_memory : by_threads;
    if (widest > 0) cut.tile = static_cast<int>(ceil_div(call.units, ceil_div(call.units, widest)));  // even tiles
    cut.colours = call.planes > 1 ? static_cast<int>(call.planes) : 0;
    cut.rows = cut.side + cut.colours + 1;
    share_images(cut, kImagesPerBlock, call.n);
    return cut;
}

[[noreturn]] void refuse(const QuadraticLaunch& call) {
    throw LaunchError("quadratic: side " + std::to_string(call.side) + ", planes " + std::to_string(call.planes) +
                      ", units " + std::to_string(call.units) + "; side goes from 1 to " +
                      std::to_string(kLargestSide) + ", and planes as far as shared memory holds their sums");
}

template <typename Real, typename Jacobian>
void launch_quadratic(const QuadraticLaunch& call, Stream stream) {
    Cut cut = cut_of<Real>(call);
    if (cut.tile == 0) refuse(call);
    const std::int64_t numbers = kImages * cut.depth * cut.padded + cut.tile * shared_per_unit(call, cut);
    const dim3 block(ceil_div(cut.groups * cut.tile, 32) * 32);
    std::int64_t bytes = numbers * sizeof(Real);
    const bool beside = call.gram && take_gram(cut, call.problems, call.n, call.units, block.x / 32, bytes);
    const dim3 grid(static_cast<unsigned>(call.problems * cut.slabs),
                    static_cast<unsigned>(ceil_div<std::int64_t>(call.units, cut.tile)));
    auto* const kernel =
        call.planes > 1
            ? (beside ? quadratic_kernel<Real, Jacobian, true, true> : quadratic_kernel<Real, Jacobian, true, false>)
            : (beside ? quadratic_kernel<Real, Jacobian, false, true> : quadratic_kernel<Real, Jacobian, false, false>);
    VARPRO_LAUNCH(kernel, grid, block, bytes, stream, call, cut);
    check_launch("quadratic");
    finish_gram(call, cut.slabs, beside, stream);
}

}  // namespace

std::int64_t quadratic_workspace(const QuadraticLaunch& call) {
    return gram_workspace(call.problems, call.n, call.units + 1);
}

void quadratic(const QuadraticLaunch& call, Stream stream) {
    if (call.problems == 0 || call.n == 0) return;
    if (call.gram) check_gram_workspace("quadratic", call.workspace, quadratic_workspace(call));
    if (call.side < 1 || call.side > kLargestSide || call.units < 1 || call.planes < 1) refuse(call);
    if (call.w_is_float)
        launch_quadratic<float, float>(call, stream);
    else if (call.d_is_float)
        launch_quadratic<double, float>(call, stream);
    else
        launch_quadratic<double, double>(call, stream);
}

}  // namespace varpro::cuda
