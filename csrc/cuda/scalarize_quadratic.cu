// Quadratic units: S_c w_i of a pair of images at a time, in registers; then q, sigma and the columns of D.
//
// S is symmetric, so the four numbers of a step lie side by side.  The traffic of a block is mostly the writing of D:
// the limit is memory, not arithmetic (28 x 28, 50 units: 4 flops per byte of D).
#include "scalarize.cuh"

namespace varpro::cuda {
namespace {

/// The thread's part of 1/2 w^T S_c w into partial, and with colours z += g_c S_c w.
template <bool kColour, typename Real, typename Jacobian>
__device__ __forceinline__ void finish_plane(const Cut& cut, const Place<Real, Jacobian>& at, int side, int plane,
                                             int group, int unit, const Real (&sum)[kImages][kRows],
                                             Real (&z)[kImages][kRows]) {
    const int l = group * kRows;
    const Real weight = kColour ? __ldg(at.w + (side + plane) * at.units + unit) : Real(1);
#pragma unroll
    for (int image = 0; image < kImages; ++image) {
        Real half = 0;
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (l + r < side) half += at.w_tile[(l + r) * cut.tile + unit] * sum[image][r];
            if (kColour) z[image][r] += weight * sum[image][r];
        }
        at.partial[((plane * kImages + image) * cut.groups + group) * cut.tile + unit] = Real(0.5) * half;
    }
}

/// phi, the slopes, and the columns of D that belong to g and the bias, for both images: one thread per image and unit.
template <bool kColour, bool kGram, typename Real, typename Jacobian>
__device__ __forceinline__ void finish_values(const ScalarizeCall& call, const Cut& cut,
                                              const Place<Real, Jacobian>& at, int side, std::int64_t pair,
                                              GramPass<kGram>& gram) {
    const int planes = static_cast<int>(call.planes);
    for (int e = threadIdx.x; e < kImages * cut.tile; e += blockDim.x) {
        const int image = e / cut.tile, i = e % cut.tile;
        const std::int64_t n = pair + image;
        if (i >= at.here || n >= call.n) continue;
        Real q = __ldg(at.bias + i);
        for (int plane = 0; plane < planes; ++plane) {
            Real* const parts = at.partial + (plane * kImages + image) * cut.groups * cut.tile + i;
            Real colour = 0;
            for (int part = 0; part < cut.groups; ++part) colour += parts[part * cut.tile];
            parts[0] = colour;  // read below by this thread alone
            q += (kColour ? __ldg(at.w + (side + plane) * at.units + i) : Real(1)) * colour;
        }
        const Real derivative = at.finish(call, cut, e, i, n, q, gram);
        if (!at.d) continue;
        Jacobian* const d = at.d + n * cut.rows * at.units + i;
        for (int plane = 0; plane < (kColour ? planes : 0); ++plane) {
            const Real colour = at.partial[(plane * kImages + image) * cut.groups * cut.tile + i];
            d[(side + plane) * at.units] = static_cast<Jacobian>(colour * derivative);
        }
        d[(cut.rows - 1) * at.units] = static_cast<Jacobian>(derivative);
    }
}

/// kColour: more planes than one, so that a sum over planes is kept beside the sum of this plane.  kGram: also Phi^T
/// Phi.
template <typename Real, typename Jacobian, bool kColour, bool kGram>
__global__ void __launch_bounds__(kGram ? kGramThreads : kThreads, kColour ? 1 : 2)
    quadratic_kernel(ScalarizeCall call, Cut cut, Strip strip) {
    VARPRO_DYNAMIC_SHARED(Real, shared);
    const Place<Real, Jacobian> at(call, cut, shared);
    const int thread = threadIdx.x, unit = thread % cut.tile, group = thread / cut.tile, l = group * kRows;
    const int side = strip.rows;
    const bool works = group < cut.groups && unit < at.here;
    at.load_weights(cut);
    GramPass<kGram> gram(cut.gram, shared);
    for (std::int64_t pair = at.begin; pair < at.end; pair += kImages) {
        Real z[kImages][kRows] = {};
        for (int plane = 0; plane < static_cast<int>(call.planes); ++plane) {
            Real own[kImages][kRows] = {};
            Real(&sum)[kImages][kRows] = kColour ? own : z;
            multiply(call, cut, strip, at, pair, at.w_tile + unit, l, works, plane > 0, sum,
                     [&](std::int64_t row, int k, int j) {
                         const std::int64_t start = (row * call.planes + plane) * side * side;
                         return pixel_at<Real>(call.images, call.pixel, start + k * side + j) +
                                pixel_at<Real>(call.images, call.pixel, start + j * side + k);
                     });
            if (works) finish_plane<kColour>(cut, at, side, plane, group, unit, sum, z);
        }
        __syncthreads();  // all parts of 1/2 w^T S w are ready, and the last strip has been used
        finish_values<kColour, kGram>(call, cut, at, side, pair, gram);
        if (!kGram && !at.d) continue;  // the same for all threads
        __syncthreads();                // the slopes, and the rows of Phi, are ready
        const bool last = pair + kImages >= at.end;
        gram.add(cut.gram, static_cast<int>((last ? at.end : pair + kImages) - at.begin), last);
        if (works && (!kGram || at.d)) at.write_rows(call, cut, pair, l, side - l, unit, z);
    }
    gram.write(cut.gram, call.gram, call.workspace, at.problem, blockIdx.x % cut.slabs, cut.slabs);
}

[[noreturn]] void refuse(const ScalarizeCall& call) {
    throw LaunchError("quadratic: images of " + std::to_string(call.height) + " x " + std::to_string(call.width) +
                      ", planes " + std::to_string(call.planes) + ", units " + std::to_string(call.units) +
                      "; both sides are the same, from 1 to " + std::to_string(kLargestSide) +
                      ", and planes go as far as shared memory holds their sums");
}

template <typename Real, typename Jacobian>
void launch_quadratic(const ScalarizeCall& call, Stream stream) {
    const Strip strip = strip_of<Real>(call.height, call.height);
    const int planes = static_cast<int>(call.planes);
    Cut cut{};
    cut.strip = kImages * strip.depth * strip.padded;
    cut.groups = strip.padded / kRows;
    cut.kept = strip.rows, cut.parts = planes;
    cut.rows = strip.rows + (planes > 1 ? planes : 0) + 1;
    share_units<Real>(cut, call);
    if (cut.tile == 0) refuse(call);
    const bool colour = planes > 1;
    launch_units<Real>(
        "quadratic", call, cut,
        colour ? quadratic_kernel<Real, Jacobian, true, false> : quadratic_kernel<Real, Jacobian, false, false>,
        colour ? quadratic_kernel<Real, Jacobian, true, true> : quadratic_kernel<Real, Jacobian, false, true>, stream,
        strip);
}

}  // namespace

std::int64_t scalarize_workspace(const ScalarizeCall& call) {
    return gram_workspace(call.problems, call.n, call.units + 1);
}

void quadratic(const ScalarizeCall& call, Stream stream) {
    if (call.problems == 0 || call.n == 0) return;
    if (call.gram) check_gram_workspace("quadratic", call.workspace, scalarize_workspace(call));
    if (call.height < 1 || call.height > kLargestSide || call.width != call.height || call.units < 1 || call.planes < 1)
        refuse(call);
    in_its_types(call,
                 [&](auto real, auto jacobian) { launch_quadratic<decltype(real), decltype(jacobian)>(call, stream); });
}

}  // namespace varpro::cuda
