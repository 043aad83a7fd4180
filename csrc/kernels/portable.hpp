/// What the formulas shared by CPU and CUDA kernels are marked with, and who works on one problem.
#pragma once

#ifdef __CUDACC__
#define VARPRO_PORTABLE __host__ __device__ inline
#else
#define VARPRO_PORTABLE inline
#endif

namespace varpro {

/// One thread by itself.  The kernels on a GPU bring a team of their own: its members share what they write, each takes
/// every size-th entry from its rank, and sync() parts what is written from what is read.
struct Alone {
    static constexpr int rank = 0, size = 1;
    VARPRO_PORTABLE void sync() const {}
};

}  // namespace varpro
