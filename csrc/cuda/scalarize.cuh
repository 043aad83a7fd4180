/// What the kernels on units share: pixels, the sigmoid and its slope, and how quadratic and bilinear units get from
/// images to Phi and D.
///
/// A block takes some units and images of a problem, two images at a time.  A thread owns one unit and four rows of
/// Z = S w (X v, X^T u): a step of its sum takes one weight (its neighbours take the next ones) and, for each image,
/// four numbers side by side that a whole warp reads at once: eight multiply-adds for five or so reads of shared
/// memory. The weights stay in shared memory for all images of a block.
#pragma once

#include "pixels.cuh"
#include "scalarize_gram.cuh"

namespace varpro::cuda {
namespace {

constexpr int kRows = 4;             // rows of Z per thread
constexpr int kImages = 2;           // images at a time
constexpr int kImagesPerBlock = 16;  // so many that loading w costs a few per cent of writing D
constexpr int kThreads = 512;
constexpr int kStripBytes = 24 * 1024;  // of the images in shared memory
constexpr std::int64_t kLargestSide = 1024;

/// tanh in both cases: the logistic function of a large negative number then needs no infinite exponential.
template <typename Real>
__device__ __forceinline__ Real sigmoid(Real q, bool logistic) {
    return logistic ? Real(0.5) + Real(0.5) * tanh(Real(0.5) * q) : tanh(q);
}

template <typename Real>
__device__ __forceinline__ Real slope_of(Real phi, bool logistic) {
    return logistic ? phi * (Real(1) - phi) : Real(1) - phi * phi;
}

/// One product with the images: rows of Z, terms of their sums, and how many of these are in shared memory at a time.
struct Strip {
    int rows, padded, terms, depth;  // padded: rows to a multiple of kRows
};

/// How a block cuts its work; computed once on the host.
struct Cut {
    int groups, tile;         // threads = groups (of kRows rows) x tile (units)
    int strip, kept, parts;   // numbers of both images, rows of w in shared memory, and planes with sums of their own
    int rows, images, slabs;  // of w; of a block; blocks that share a problem's images
    GramCut gram;
};

/// What a block works on: its places in shared memory, and where its problem and its units begin outside.
template <typename Real, typename Jacobian>
struct Place {
    Real *strip, *w_tile;                     // (kImages, depth, padded) of a strip, (kept, tile)
    Real *partial, *slope;                    // (parts, kImages, groups, tile), (kImages, tile)
    const Real *w, *bias;                     // of the first unit, stride units
    Real* phi;                                // of the problem
    Jacobian* d;                              // of the problem's first image and the first unit, or null
    std::int64_t problem, units, begin, end;  // images of this block
    int first_unit, here;                     // here: units of this tile

    __device__ __forceinline__ Place(const ScalarizeCall& call, const Cut& cut, Real* shared) {
        strip = shared;
        w_tile = strip + cut.strip;
        partial = w_tile + cut.kept * cut.tile;
        slope = partial + cut.parts * kImages * cut.groups * cut.tile;
        problem = blockIdx.x / cut.slabs;
        units = call.units;
        first_unit = blockIdx.y * cut.tile;
        here = units - first_unit < cut.tile ? static_cast<int>(units - first_unit) : cut.tile;
        w = static_cast<const Real*>(call.w) + problem * cut.rows * units + first_unit;
        bias = w + (cut.rows - 1) * units;
        phi = static_cast<Real*>(call.phi) + problem * call.n * (units + 1);
        d = call.d ? static_cast<Jacobian*>(call.d) + problem * call.n * cut.rows * units + first_unit : nullptr;
        begin = static_cast<std::int64_t>(blockIdx.x % cut.slabs) * cut.images;
        end = begin + cut.images < call.n ? begin + cut.images : call.n;
    }

    /// The rows of w that all images need.
    __device__ __forceinline__ void load_weights(const Cut& cut) const {
        for (int e = threadIdx.x; e < cut.kept * cut.tile; e += blockDim.x)
            w_tile[e] = e % cut.tile < here ? __ldg(w + e / cut.tile * units + e % cut.tile) : Real(0);
    }

    /// Phi and its slope of unit i of image n, the e-th of the pair's; returns the slope.
    template <bool kGram>
    __device__ __forceinline__ Real finish(const ScalarizeCall& call, const Cut& cut, int e, int i, std::int64_t n,
                                           Real q, GramPass<kGram>& gram) const {
        const Real value = sigmoid(q, call.logistic), derivative = slope_of(value, call.logistic);
        Real* const to = phi + n * (units + 1);
        to[first_unit + i] = value;
        if (first_unit + i == units - 1) to[units] = Real(1);
        slope[e] = derivative;
        gram.put(cut.gram, static_cast<int>(n - begin), i, value);
        return derivative;
    }

    /// A thread's rows of D for both images: the unit's, from row `row` of w on, at most `rows` of them.
    __device__ __forceinline__ void write_rows(const ScalarizeCall& call, const Cut& cut, std::int64_t pair, int row,
                                               int rows, int unit, const Real (&z)[kImages][kRows]) const {
        Jacobian* const to = d + (pair * cut.rows + row) * units + unit;
#pragma unroll
        for (int image = 0; image < kImages; ++image) {
            if (image >= call.n - pair) continue;
            const Real derivative = slope[image * cut.tile + unit];
#pragma unroll
            for (int r = 0; r < kRows; ++r)
                if (r < rows)
                    to[image * cut.rows * units + r * units] = static_cast<Jacobian>(z[image][r] * derivative);
        }
    }
};

/// strip[image][k][l] = value(row of images, first + k, l) for both images of the pair, zero where there is no such
/// term, row or image.
template <typename Real, typename Value>
__device__ __forceinline__ void load_strip(const ScalarizeCall& call, const Strip& cut, std::int64_t problem,
                                           std::int64_t pair, int first, Real* strip, const Value& value) {
    // the place of a thread's next number by steps: three divisions for each number would take longer than its loads
    const int step_k = blockDim.x / cut.padded, step_l = blockDim.x % cut.padded;
    int image = 0, k = threadIdx.x / cut.padded, l = threadIdx.x % cut.padded;
    for (int e = threadIdx.x; e < kImages * cut.depth * cut.padded; e += blockDim.x) {
        while (k >= cut.depth) k -= cut.depth, ++image;
        const std::int64_t n = pair + image;
        const bool there = n < call.n && first + k < cut.terms && l < cut.rows;
        strip[e] = there ? value(image_row(call, problem * call.n + n), first + k, l) : Real(0);
        k += step_k, l += step_l;
        if (l >= cut.padded) l -= cut.padded, ++k;
    }
}

template <typename Real>
struct alignas(16) Quad {
    Real v[kRows];
};

/// z[image][r] += sum_k strip[image][k][r] w[k] over `steps` rows of a strip: its rows lie `pitch` numbers apart, its
/// images `area`, and the weights `stride`.
template <typename Real>
__device__ __forceinline__ void accumulate(const Real* strip, int pitch, int area, const Real* w, int stride, int steps,
                                           Real (&z)[kImages][kRows]) {
#pragma unroll 2  // more would cost registers, and with them blocks in flight
    for (int k = 0; k < steps; ++k) {
        const Real wk = w[k * stride];
#pragma unroll
        for (int image = 0; image < kImages; ++image) {
            const auto s = *reinterpret_cast<const Quad<Real>*>(strip + image * area + k * pitch);
#pragma unroll
            for (int r = 0; r < kRows; ++r) z[image][r] += s.v[r] * wk;
        }
    }
}

/// z += the product of a strip with w, for this thread's unit and four rows from l on.  w: the weights of its first
/// term, stride tile.  waits: the strip is still being used when this begins.
template <typename Real, typename Jacobian, typename Value>
__device__ __forceinline__ void multiply(const ScalarizeCall& call, const Cut& cut, const Strip& of,
                                         const Place<Real, Jacobian>& at, std::int64_t pair, const Real* w, int l,
                                         bool works, bool waits, Real (&z)[kImages][kRows], const Value& value) {
    for (int first = 0; first < of.terms; first += of.depth) {
        if (waits || first > 0) __syncthreads();  // the strip before this one has been used
        load_strip(call, of, at.problem, pair, first, at.strip, value);
        __syncthreads();  // the strip, and at first w, is ready
        const int steps = of.terms - first < of.depth ? of.terms - first : of.depth;
        if (works) accumulate(at.strip + l, of.padded, of.depth * of.padded, w + first * cut.tile, cut.tile, steps, z);
    }
}

/// As many terms at a time as fit into kStripBytes for both images.
template <typename Real>
Strip strip_of(std::int64_t rows, std::int64_t terms) {
    const int padded = ceil_div(static_cast<int>(rows), kRows) * kRows, all = static_cast<int>(terms);
    const int fitting = kStripBytes / static_cast<int>(kImages * padded * sizeof(Real));
    return {static_cast<int>(rows), padded, all, fitting < 1 ? 1 : fitting < all ? fitting : all};
}

/// Numbers of shared memory for each unit of a tile: its column of w, the partial sums and the slopes.
inline std::int64_t shared_per_unit(const Cut& cut) { return cut.kept + (cut.parts * cut.groups + 1) * kImages; }

/// Even tiles as wide as shared memory and threads allow; a tile of no units where not even one fits.
template <typename Real>
void share_units(Cut& cut, const ScalarizeCall& call) {
    const std::int64_t left = kSharedBytes / sizeof(Real) - cut.strip, by_threads = kThreads / cut.groups;
    const std::int64_t by_memory = left / shared_per_unit(cut);
    const std::int64_t widest = by_memory < by_threads ? by_memory : by_threads;
    if (widest > 0) cut.tile = static_cast<int>(ceil_div(call.units, ceil_div(call.units, widest)));
    share_images(cut, kImagesPerBlock, call.n);
}

/// plain, or with_gram where Phi^T Phi is wanted and a block can make it beside.
template <typename Real, typename Kernel, typename... Strips>
void launch_units(const char* name, const ScalarizeCall& call, Cut cut, Kernel plain, Kernel with_gram, Stream stream,
                  const Strips&... strips) {
    const dim3 block(ceil_div(cut.groups * cut.tile, 32) * 32);
    std::int64_t bytes = (cut.strip + cut.tile * shared_per_unit(cut)) * sizeof(Real);
    const bool beside = call.gram && take_gram(cut, call.problems, call.n, call.units, block.x / 32, bytes);
    const dim3 grid(static_cast<unsigned>(call.problems * cut.slabs),
                    static_cast<unsigned>(ceil_div<std::int64_t>(call.units, cut.tile)));
    const Kernel kernel = beside ? with_gram : plain;
    VARPRO_LAUNCH(kernel, grid, block, bytes, stream, call, cut, strips...);
    check_launch(name);
    finish_gram(call, cut.slabs, beside, stream);
}

/// Launches the instance for the types that the call names.
template <typename Launch>
void in_its_types(const ScalarizeCall& call, const Launch& launch) {
    if (call.w_is_float)
        launch(float{}, float{});
    else if (call.d_is_float)
        launch(double{}, float{});
    else
        launch(double{}, double{});
}

}  // namespace
}  // namespace varpro::cuda
