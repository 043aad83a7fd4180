// Bilinear units: X v, which gives q, then X^T u, both for a pair of images at a time in registers.
//
// Each half is the same product as for quadratic units.  X lies in shared memory, transposed in the first half and as
// it is in the second; between the two it is read again, from the first-level cache.  The registers hold one half at a
// time: q, and so the slope, is known before the second begins.
#include "scalarize.cuh"

namespace varpro::cuda {
namespace {

/// phi, the slopes, and the column of D that belongs to the bias, for both images: one thread per image and unit.
template <bool kGram, typename Real, typename Jacobian>
__device__ __forceinline__ void finish_values(const ScalarizeCall& call, const Cut& cut, int groups,
                                              const Place<Real, Jacobian>& at, std::int64_t pair,
                                              GramPass<kGram>& gram) {
    for (int e = threadIdx.x; e < kImages * cut.tile; e += blockDim.x) {
        const int image = e / cut.tile, i = e % cut.tile;
        const std::int64_t n = pair + image;
        if (i >= at.here || n >= call.n) continue;
        Real q = __ldg(at.bias + i);
        for (int group = 0; group < groups; ++group) q += at.partial[(image * cut.groups + group) * cut.tile + i];
        const Real derivative = at.finish(call, cut, e, i, n, q, gram);
        if (at.d) at.d[(n * cut.rows + cut.rows - 1) * at.units + i] = static_cast<Jacobian>(derivative);
    }
}

/// kGram: also Phi^T Phi.  of_u: X v, the derivative by the rows of u; of_v: X^T u.
template <typename Real, typename Jacobian, bool kGram>
__global__ void __launch_bounds__(kGram ? kGramThreads : kThreads, 2)
    bilinear_kernel(ScalarizeCall call, Cut cut, Strip of_u, Strip of_v) {
    VARPRO_DYNAMIC_SHARED(Real, shared);
    const Place<Real, Jacobian> at(call, cut, shared);
    const int thread = threadIdx.x, unit = thread % cut.tile, group = thread / cut.tile, l = group * kRows;
    const int height = of_u.rows, width = of_v.rows;
    const bool in_u = l < height && unit < at.here, in_v = l < width && unit < at.here;
    const Real* const u = at.w_tile + unit;
    const Real* const v = u + height * cut.tile;
    const auto pixel = [&](std::int64_t row, int down, int across) {
        return pixel_at<Real>(call.images, call.pixel, row * height * width + down * width + across);
    };
    at.load_weights(cut);
    GramPass<kGram> gram(cut.gram, shared);
    for (std::int64_t pair = at.begin; pair < at.end; pair += kImages) {
        Real xv[kImages][kRows] = {};
        multiply(call, cut, of_u, at, pair, v, l, in_u, at.d && pair > at.begin, xv,
                 [&](std::int64_t row, int k, int j) { return pixel(row, j, k); });
        if (in_u) {
#pragma unroll
            for (int image = 0; image < kImages; ++image) {
                Real part = 0;
#pragma unroll
                for (int r = 0; r < kRows; ++r)
                    if (l + r < height) part += u[(l + r) * cut.tile] * xv[image][r];
                at.partial[(image * cut.groups + group) * cut.tile + unit] = part;
            }
        }
        __syncthreads();  // all parts of u^T X v are ready, and the last strip has been used
        finish_values<kGram>(call, cut, of_u.padded / kRows, at, pair, gram);
        if (!kGram && !at.d) continue;  // the same for all threads
        __syncthreads();                // the slopes, and the rows of Phi, are ready
        const bool last = pair + kImages >= at.end;
        gram.add(cut.gram, static_cast<int>((last ? at.end : pair + kImages) - at.begin), last);
        if (kGram && !at.d) continue;
        if (in_u) at.write_rows(call, cut, pair, l, height - l, unit, xv);
        Real xu[kImages][kRows] = {};
        multiply(call, cut, of_v, at, pair, u, l, in_v, false, xu,
                 [&](std::int64_t row, int k, int j) { return pixel(row, k, j); });
        if (in_v) at.write_rows(call, cut, pair, height + l, width - l, unit, xu);
    }
    gram.write(cut.gram, call.gram, call.workspace, at.problem, blockIdx.x % cut.slabs, cut.slabs);
}

template <typename Real, typename Jacobian>
void launch_bilinear(const ScalarizeCall& call, Stream stream) {
    const Strip of_u = strip_of<Real>(call.height, call.width), of_v = strip_of<Real>(call.width, call.height);
    const int strip_u = of_u.depth * of_u.padded, strip_v = of_v.depth * of_v.padded;
    Cut cut{};
    cut.strip = kImages * (strip_u > strip_v ? strip_u : strip_v);
    cut.groups = (of_u.padded > of_v.padded ? of_u.padded : of_v.padded) / kRows;
    cut.kept = of_u.rows + of_v.rows, cut.parts = 1;
    cut.rows = cut.kept + 1;
    share_units<Real>(cut, call);
    launch_units<Real>("bilinear", call, cut, bilinear_kernel<Real, Jacobian, false>,
                       bilinear_kernel<Real, Jacobian, true>, stream, of_u, of_v);
}

}  // namespace

void bilinear(const ScalarizeCall& call, Stream stream) {
    if (call.problems == 0 || call.n == 0) return;
    if (call.gram) check_gram_workspace("bilinear", call.workspace, scalarize_workspace(call));
    const auto fits = [](std::int64_t side) { return side >= 1 && side <= kLargestSide; };
    if (!fits(call.height) || !fits(call.width) || call.units < 1 || call.planes != 1)
        throw LaunchError("bilinear: images of " + std::to_string(call.height) + " x " + std::to_string(call.width) +
                          ", planes " + std::to_string(call.planes) + ", units " + std::to_string(call.units) +
                          "; each side goes from 1 to " + std::to_string(kLargestSide) +
                          ", and planes are stacked in one");
    in_its_types(call,
                 [&](auto real, auto jacobian) { launch_bilinear<decltype(real), decltype(jacobian)>(call, stream); });
}

}  // namespace varpro::cuda
