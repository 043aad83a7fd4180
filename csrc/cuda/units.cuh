/// What the kernels on units share: pixels, the sigmoid and its slope.
#pragma once

#include "device.cuh"

namespace varpro::cuda {
namespace {

constexpr int kSharedBytes = 48 * 1024;  // what a block has without asking for more
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

}  // namespace
}  // namespace varpro::cuda
