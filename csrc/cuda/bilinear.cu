// Bilinear units: X v, which gives q, then X^T u, both for a pair of images at a time in registers.
//
// Each half is the product that scalarize.cu has: a thread owns one unit and four rows, a step of its sum takes one
// weight and, for each image, four numbers side by side.  For that X lies in shared memory transposed in the first half
// and as it is in the second; it is read again between the two, out of the first-level cache.  The registers hold one
// half at a time: q, and so the slope, is known before the second begins.
#include "gram.cuh"
#include "units.cuh"

namespace varpro::cuda {
namespace {

/// One half: rows of Z, terms of their sums, and how many of these are in shared memory at a time.
struct Half {
    int rows, padded, terms, depth;  // padded: rows to a multiple of kRows
};

/// How a block cuts its work; computed once on the host.
struct Cut {
    Half of_u, of_v;    // X v, which the rows of u go with, and X^T u
    int groups, tile;   // threads = groups (of kRows rows) x tile (units)
    int strip, rows;    // numbers of both images in shared memory; rows of w
    int images, slabs;  // of a block; blocks that share a problem's images
    GramCut gram;
};

/// What a block works on: its places in shared memory, and where its problem and its units begin outside.
template <typename Real, typename Jacobian>
struct Place {
    Real *strip, *w_tile;   // (kImages, depth, padded) of a half, (height + width, tile)
    Real *partial, *slope;  // (kImages, groups, tile), (kImages, tile)
    const Real *w, *bias;   // of the first unit, stride units
    Real* phi;              // of the problem
    Jacobian* d;            // of the problem's first image and the first unit, or null
    std::int64_t problem, units;
    int first_unit, here;  // here: units of this tile
};

template <typename Real, typename Jacobian>
__device__ __forceinline__ Place<Real, Jacobian> place_of(const BilinearLaunch& call, const Cut& cut, Real* shared) {
    Place<Real, Jacobian> at;
    at.strip = shared;
    at.w_tile = at.strip + cut.strip;
    at.partial = at.w_tile + (cut.rows - 1) * cut.tile;
    at.slope = at.partial + kImages * cut.groups * cut.tile;
    at.problem = blockIdx.x / cut.slabs;
    at.units = call.units;
    at.first_unit = blockIdx.y * cut.tile;
    at.here = at.units - at.first_unit < cut.tile ? static_cast<int>(at.units - at.first_unit) : cut.tile;
    at.w = static_cast<const Real*>(call.w) + at.problem * cut.rows * at.units + at.first_unit;
    at.bias = at.w + (cut.rows - 1) * at.units;
    at.phi = static_cast<Real*>(call.phi) + at.problem * call.n * (at.units + 1);
    at.d =
        call.d ? static_cast<Jacobian*>(call.d) + at.problem * call.n * cut.rows * at.units + at.first_unit : nullptr;
    return at;
}

/// strip[image][k][l] for both images, terms first + k: X[l, k] in the first half, X[k, l] in the second; zero where
/// there is no such row, term or image.
template <bool kTransposed, typename Real>
__device__ void load_strip(const BilinearLaunch& call, const Half& half, std::int64_t problem, std::int64_t pair,
                           int first, Real* strip) {
    const int area = half.depth * half.padded, width = static_cast<int>(call.width);
    for (int e = threadIdx.x; e < kImages * area; e += blockDim.x) {
        const int image = e / area, k = first + e % area / half.padded, l = e % half.padded;
        const std::int64_t n = pair + image;
        Real value = 0;
        if (n < call.n && k < half.terms && l < half.rows) {
            const std::int64_t place = problem * call.n + n;
            const std::int64_t row = call.index ? static_cast<std::int64_t>(__ldg(call.index + place)) : place;
            value = pixel_at<Real>(call.images, call.pixel,
                                   row * call.height * call.width + (kTransposed ? l * width + k : k * width + l));
        }
        strip[e] = value;
    }
}

/// z of one half for this thread's unit and rows.  w: the weights of its first term, stride tile.  waits: the strip is
/// still being used when this begins.
template <bool kTransposed, typename Real>
__device__ __forceinline__ void multiply(const BilinearLaunch& call, const Cut& cut, const Half& half,
                                         std::int64_t problem, std::int64_t pair, Real* strip, const Real* w, int l,
                                         bool works, bool waits, Real (&z)[kImages][kRows]) {
    for (int first = 0; first < half.terms; first += half.depth) {
        if (waits || first > 0) __syncthreads();  // the strip before this one has been used
        load_strip<kTransposed>(call, half, problem, pair, first, strip);
        __syncthreads();  // the strip, and at first w, is there
        const int steps = half.terms - first < half.depth ? half.terms - first : half.depth;
        if (works)
            accumulate(strip + l, half.padded, half.depth * half.padded, w + first * cut.tile, cut.tile, steps, z);
    }
}

/// phi, the slopes, and the column of D that belongs to the bias, for both images: a thread an image and unit.
template <bool kGram, typename Real, typename Jacobian>
__device__ __forceinline__ void finish_values(const BilinearLaunch& call, const Cut& cut,
                                              const Place<Real, Jacobian>& at, std::int64_t begin, std::int64_t pair,
                                              GramPass<kGram>& gram) {
    const int groups = cut.of_u.padded / kRows;
    for (int e = threadIdx.x; e < kImages * cut.tile; e += blockDim.x) {
        const int image = e / cut.tile, i = e % cut.tile;
        const std::int64_t n = pair + image;
        if (i >= at.here || n >= call.n) continue;
        Real q = __ldg(at.bias + i);
        for (int group = 0; group < groups; ++group) q += at.partial[(image * cut.groups + group) * cut.tile + i];
        const Real value = sigmoid(q, call.logistic), derivative = slope_of(value, call.logistic);
        Real* const phi = at.phi + n * (at.units + 1);
        phi[at.first_unit + i] = value;
        if (at.first_unit + i == at.units - 1) phi[at.units] = Real(1);
        at.slope[e] = derivative;
        gram.put(cut.gram, static_cast<int>(n - begin), i, value);
        if (at.d) at.d[(n * cut.rows + cut.rows - 1) * at.units + i] = static_cast<Jacobian>(derivative);
    }
}

/// This thread's rows of one half into D, `below` rows of w before them.
template <typename Real, typename Jacobian>
__device__ __forceinline__ void write_half(const BilinearLaunch& call, const Cut& cut, const Half& half,
                                           const Place<Real, Jacobian>& at, std::int64_t pair, int below, int l,
                                           int unit, const Real (&z)[kImages][kRows]) {
    write_rows(at.d + (pair * cut.rows + below + l) * at.units + unit, cut.rows * at.units, at.units, half.rows - l,
               at.slope + unit, cut.tile, call.n - pair, z);
}

/// kGram: Phi^T Phi beside.
template <typename Real, typename Jacobian, bool kGram>
__global__ void __launch_bounds__(kGram ? kGramThreads : kThreads, 2) bilinear_kernel(BilinearLaunch call, Cut cut) {
    VARPRO_DYNAMIC_SHARED(Real, shared);
    const auto at = place_of<Real, Jacobian>(call, cut, shared);
    const int thread = threadIdx.x, unit = thread % cut.tile, group = thread / cut.tile, l = group * kRows;
    const bool in_u = l < cut.of_u.rows && unit < at.here, in_v = l < cut.of_v.rows && unit < at.here;
    const Real* const u = at.w_tile + unit;
    const Real* const v = u + cut.of_u.rows * cut.tile;

    for (int e = thread; e < (cut.rows - 1) * cut.tile; e += blockDim.x)
        at.w_tile[e] = e % cut.tile < at.here ? __ldg(at.w + e / cut.tile * at.units + e % cut.tile) : Real(0);

    GramPass<kGram> gram(cut.gram, shared);

    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x % cut.slabs) * cut.images;
    const std::int64_t end = begin + cut.images < call.n ? begin + cut.images : call.n;
    for (std::int64_t pair = begin; pair < end; pair += kImages) {
        Real xv[kImages][kRows] = {};
        multiply<true>(call, cut, cut.of_u, at.problem, pair, at.strip, v, l, in_u, at.d && pair > begin, xv);
        if (in_u) {
#pragma unroll
            for (int image = 0; image < kImages; ++image) {
                Real part = 0;
#pragma unroll
                for (int r = 0; r < kRows; ++r)
                    if (l + r < cut.of_u.rows) part += u[(l + r) * cut.tile] * xv[image][r];
                at.partial[(image * cut.groups + group) * cut.tile + unit] = part;
            }
        }
        __syncthreads();  // all parts of u^T X v are there, and the last strip has been used
        finish_values<kGram>(call, cut, at, begin, pair, gram);
        if (!kGram && !at.d) continue;  // the same for all threads
        __syncthreads();                // the slopes, and the rows of Phi, are there
        const bool last = pair + kImages >= end;
        gram.add(cut.gram, static_cast<int>((last ? end : pair + kImages) - begin), last);
        if (kGram && !at.d) continue;
        if (in_u) write_half(call, cut, cut.of_u, at, pair, 0, l, unit, xv);
        Real xu[kImages][kRows] = {};
        multiply<false>(call, cut, cut.of_v, at.problem, pair, at.strip, u, l, in_v, false, xu);
        if (in_v) write_half(call, cut, cut.of_v, at, pair, cut.of_u.rows, l, unit, xu);
    }
    gram.write(cut.gram, call.gram, call.workspace, at.problem, blockIdx.x % cut.slabs, cut.slabs);
}

template <typename Real>
Half half_of(std::int64_t rows, std::int64_t terms) {
    const int padded = ceil_div(static_cast<int>(rows), kRows) * kRows, all = static_cast<int>(terms);
    const int fitting = kStripBytes / static_cast<int>(kImages * padded * sizeof(Real));
    return {static_cast<int>(rows), padded, all, fitting < 1 ? 1 : fitting < all ? fitting : all};
}

/// Numbers of shared memory for each unit of a tile: its column of w, the partial sums and the slopes.
std::int64_t shared_per_unit(const Cut& cut) { return cut.rows - 1 + (cut.groups + 1) * kImages; }

template <typename Real>
Cut cut_of(const BilinearLaunch& call) {
    Cut cut{};
    cut.of_u = half_of<Real>(call.height, call.width);
    cut.of_v = half_of<Real>(call.width, call.height);
    const int strip_u = cut.of_u.depth * cut.of_u.padded, strip_v = cut.of_v.depth * cut.of_v.padded;
    cut.strip = kImages * (strip_u > strip_v ? strip_u : strip_v);
    cut.groups = (cut.of_u.padded > cut.of_v.padded ? cut.of_u.padded : cut.of_v.padded) / kRows;
    cut.rows = static_cast<int>(call.height + call.width + 1);
    const std::int64_t left = kSharedBytes / sizeof(Real) - cut.strip, by_threads = kThreads / cut.groups;
    const std::int64_t by_memory = left / shared_per_unit(cut);
    const std::int64_t widest = by_memory < by_threads ? by_memory : by_threads;
    cut.tile = static_cast<int>(ceil_div(call.units, ceil_div(call.units, widest)));  // even tiles
    share_images(cut, kImagesPerBlock, call.n);
    return cut;
}

template <typename Real, typename Jacobian>
void launch_bilinear(const BilinearLaunch& call, Stream stream) {
    Cut cut = cut_of<Real>(call);
    const dim3 block(ceil_div(cut.groups * cut.tile, 32) * 32);
    std::int64_t bytes = (cut.strip + cut.tile * shared_per_unit(cut)) * sizeof(Real);
    const bool beside = call.gram && take_gram(cut, call.problems, call.n, call.units, block.x / 32, bytes);
    const dim3 grid(static_cast<unsigned>(call.problems * cut.slabs),
                    static_cast<unsigned>(ceil_div<std::int64_t>(call.units, cut.tile)));
    auto* const kernel = beside ? bilinear_kernel<Real, Jacobian, true> : bilinear_kernel<Real, Jacobian, false>;
    VARPRO_LAUNCH(kernel, grid, block, bytes, stream, call, cut);
    check_launch("bilinear");
    finish_gram(call, cut.slabs, beside, stream);
}

}  // namespace

std::int64_t bilinear_workspace(const BilinearLaunch& call) {
    return gram_workspace(call.problems, call.n, call.units + 1);
}

void bilinear(const BilinearLaunch& call, Stream stream) {
    if (call.problems == 0 || call.n == 0) return;
    if (call.gram) check_gram_workspace("bilinear", call.workspace, bilinear_workspace(call));
    const auto fits = [](std::int64_t side) { return side >= 1 && side <= kLargestSide; };
    if (!fits(call.height) || !fits(call.width) || call.units < 1)
        throw LaunchError("bilinear: images of " + std::to_string(call.height) + " x " + std::to_string(call.width) +
                          ", units " + std::to_string(call.units) + "; each side goes from 1 to " +
                          std::to_string(kLargestSide));
    if (call.w_is_float)
        launch_bilinear<float, float>(call, stream);
    else if (call.d_is_float)
        launch_bilinear<double, float>(call, stream);
    else
        launch_bilinear<double, double>(call, stream);
}

}  // namespace varpro::cuda
