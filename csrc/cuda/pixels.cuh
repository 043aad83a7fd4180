/// Pixels of images that problems share, read by index.
#pragma once

#include "../kernels/scalarize.hpp"
#include "device.cuh"

namespace varpro::cuda {
namespace {

template <typename Real>
__device__ __forceinline__ Real pixel_at(const void* images, Pixel pixel, std::int64_t at) {
    if (pixel == Pixel::u8)
        return static_cast<Real>(__ldg(static_cast<const unsigned char*>(images) + at)) * (Real(1) / Real(255));
    if (pixel == Pixel::f32) return static_cast<Real>(__ldg(static_cast<const float*>(images) + at));
    return static_cast<Real>(__ldg(static_cast<const double*>(images) + at));
}

/// The row of images at a place among all problems' images.
template <typename Call>
__device__ __forceinline__ std::int64_t image_row(const Call& call, std::int64_t place) {
    return call.index ? static_cast<std::int64_t>(__ldg(call.index + place)) : place;
}

}  // namespace
}  // namespace varpro::cuda
