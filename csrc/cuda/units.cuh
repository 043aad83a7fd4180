/// What the kernels on units share: pixels, the sigmoid and its slope.
#pragma once

#include "device.cuh"

namespace varpro::cuda {
namespace {

constexpr int kRows = 4;             // rows of Z a thread
constexpr int kImages = 2;           // images at a time
constexpr int kImagesPerBlock = 16;  // so that loading w costs a few per cent of writing D
constexpr int kThreads = 512;
constexpr int kStripBytes = 24 * 1024;  // of the images in shared memory
constexpr std::int64_t kLargestSide = 1024;

template <typename Real>
__device__ __forceinline__ Real pixel_at(const void* images, Pixel pixel, std::int64_t at) {
    if (pixel == Pixel::u8)
        return static_cast<Real>(__ldg(static_cast<const unsigned char*>(images) + at)) * (Real(1) / Real(255));
    if (pixel == Pixel::f32) return static_cast<Real>(__ldg(static_cast<const float*>(images) + at));
    return static_cast<Real>(__ldg(static_cast<const double*>(images) + at));
}

/// tanh in both: the logistic function of a large negative number then has no infinite exponential in it.
template <typename Real>
__device__ __forceinline__ Real sigmoid(Real q, bool logistic) {
    return logistic ? Real(0.5) + Real(0.5) * tanh(Real(0.5) * q) : tanh(q);
}

template <typename Real>
__device__ __forceinline__ Real slope_of(Real phi, bool logistic) {
    return logistic ? phi * (Real(1) - phi) : Real(1) - phi * phi;
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

/// A thread's rows of D for both images, at most `rows` and `images` of them: d at the first one, `units` numbers to
/// the next and `stride` to the next image; slope of the first image, `tile` numbers to the next.
template <typename Real, typename Jacobian>
__device__ __forceinline__ void write_rows(Jacobian* d, std::int64_t stride, std::int64_t units, int rows,
                                           const Real* slope, int tile, std::int64_t images,
                                           const Real (&z)[kImages][kRows]) {
#pragma unroll
    for (int image = 0; image < kImages; ++image) {
        if (image >= images) continue;
        const Real derivative = slope[image * tile];
#pragma unroll
        for (int r = 0; r < kRows; ++r)
            if (r < rows) d[image * stride + r * units] = static_cast<Jacobian>(z[image][r] * derivative);
    }
}

}  // namespace
}  // namespace varpro::cuda
