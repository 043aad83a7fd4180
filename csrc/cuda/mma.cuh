/// The matrix product of a warp in double: tensor cores on the device, an exchange of fragments on the host.
#pragma once

#include "device.cuh"

namespace varpro::cuda {

/// c (16 x 8) += a (16 x 8) b (8 x 8), by all lanes of a warp.  Lane 4 g + t, g < 8, t < 4, holds
///   a[e] = a[g + 8 (e % 2), t + 4 (e / 2)],   b[e] = b[t + 4 e, g],   c[e] = c[g + 8 (e / 2), 2 t + e % 2].
/// The caller names the rows of a, so that what lies side by side in memory need not be neighbouring rows here.
#ifdef __CUDACC__

__device__ __forceinline__ void multiply_add(double (&c)[4], const double (&a)[4], const double (&b)[2]) {
#if __CUDA_ARCH__ >= 900
    asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+d"(c[0]), "+d"(c[1]), "+d"(c[2]), "+d"(c[3])
        : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(b[0]), "d"(b[1]));
#else
#pragma unroll
    for (int half = 0; half < 2; ++half)      // of the eight terms of each sum
#pragma unroll
        for (int down = 0; down < 2; ++down)  // of the sixteen rows
            asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                : "+d"(c[2 * down]), "+d"(c[2 * down + 1])
                : "d"(a[2 * half + down]), "d"(b[half]));
#endif
}

#else

inline void multiply_add(double (&c)[4], const double (&a)[4], const double (&b)[2]) {
    struct Fragments {
        double a[4], b[2];
    };
    const Fragments own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    cuda_host::put_down(__FILE__, __LINE__, &own, sizeof(own));
    const unsigned g = cuda_host::lane() / 4, t = cuda_host::lane() % 4;
    const auto of = [](unsigned lane) { return static_cast<const Fragments*>(cuda_host::put_down_by(lane)); };
    for (int e = 0; e < 4; ++e)
        for (unsigned k = 0; k < 8; ++k)
            c[e] += of(4 * g + k % 4)->a[2 * (k / 4) + e / 2] * of(4 * (2 * t + e % 2) + k % 4)->b[k / 4];
}

#endif

}  // namespace varpro::cuda
