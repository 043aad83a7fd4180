/// What a kernel's source needs beyond CUDA itself, so that it also compiles for the host (host/cuda_host.hpp): the
/// launch, the name of dynamic shared memory, and the error of a launch that failed.
#pragma once

#include <cstdint>
#include <string>

#include "../kernels/launch.hpp"

#ifdef __CUDACC__

#define VARPRO_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__)

#define VARPRO_DYNAMIC_SHARED(T, name)                              \
    extern __shared__ __align__(16) unsigned char varpro_dynamic[]; \
    T* const name = reinterpret_cast<T*>(varpro_dynamic)

namespace varpro::cuda {
inline void check_launch(const char* kernel) {
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) throw LaunchError(std::string(kernel) + ": " + cudaGetErrorString(error));
}
}  // namespace varpro::cuda

#else

#include "host/cuda_host.hpp"

#define VARPRO_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
    static_cast<void>(stream), cuda_host::launch(kernel, grid, block, shared_bytes, __VA_ARGS__)

#define VARPRO_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(cuda_host::dynamic_shared())

namespace varpro::cuda {
inline void check_launch(const char*) {}
}  // namespace varpro::cuda

#endif

namespace varpro::cuda {

constexpr int kSharedBytes = 48 * 1024;  // of a block that does not ask for more

/// Lanes of a warp, side by side, that share one problem (portable.hpp).  All teams of a warp meet at a sync.
struct WarpTeam {
    int rank, size;
#ifdef __CUDACC__
    __device__ void sync() const { __syncwarp(); }
#else
    void sync(const char* file = __builtin_FILE(), int line = __builtin_LINE()) const {
        cuda_host::warp_barrier(file, line);  // told apart by who calls
    }
#endif
};

template <typename T>
constexpr T ceil_div(T a, T b) {
    return (a + b - 1) / b;
}

}  // namespace varpro::cuda
