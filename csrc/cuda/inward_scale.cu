// Rows scaled to a sphere, and the gradient of that: one warp per row, which comes from memory once, then from caches.
#include "../kernels/inward_scale.hpp"
#include "rows.cuh"

namespace varpro::cuda {
namespace {

/// sum_j (factor a[j]) b[j], the same in every lane.
template <typename T>
__device__ __forceinline__ double scaled_dot(double factor, const T* a, const T* b, std::int64_t count, int lane) {
    double sum = 0;
    for (std::int64_t j = lane; j < count; j += kWarp)
        sum += factor * static_cast<double>(__ldg(a + j)) * static_cast<double>(__ldg(b + j));
    return warp_sum(sum);
}

template <typename T, bool kBack>
__global__ void __launch_bounds__(kWarp* kWarps) inward_kernel(InwardScaleCall call) {
    const std::int64_t row = warp_number();
    if (row >= call.n) return;
    const int lane = threadIdx.x % kWarp;
    const T* const x = static_cast<const T*>(call.x) + row * call.d;
    const T* const g = kBack ? static_cast<const T*>(call.g) + row * call.d : nullptr;
    T* const out = static_cast<T*>(call.out) + row * call.d;
    const double s = sqrt(scaled_dot(1.0, x, x, call.d, lane) + call.eps), factor = 1.0 / (call.xi * s);
    if (lane == 0) call.s[row] = s;
    if (!kBack) {
        for (std::int64_t j = lane; j < call.d; j += kWarp)
            out[j] = static_cast<T>(static_cast<double>(__ldg(x + j)) * factor);
        return;
    }
    const double unit = 1.0 / s, along = scaled_dot(unit, x, g, call.d, lane);
    if (lane == 0) call.along[row] = along;
    for (std::int64_t j = lane; j < call.d; j += kWarp) {
        const double away = static_cast<double>(__ldg(g + j)) - static_cast<double>(__ldg(x + j)) * unit * along;
        out[j] = static_cast<T>(away * factor);
    }
}

template <typename T>
void launch_inward(const InwardScaleCall& call, Stream stream) {
    auto* const kernel = call.g ? inward_kernel<T, true> : inward_kernel<T, false>;
    VARPRO_LAUNCH(kernel, grid_of_warps(call.n), dim3(kWarp * kWarps), 0, stream, call);
    check_launch("inward_scale");
}

}  // namespace

void inward_scale(const InwardScaleCall& call, Stream stream) {
    if (call.n == 0) return;
    if (call.is_float)
        launch_inward<float>(call, stream);
    else
        launch_inward<double>(call, stream);
}

}  // namespace varpro::cuda
