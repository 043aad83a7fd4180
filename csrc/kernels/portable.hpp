/// The mark of functions shared by CPU and CUDA kernels, and the team of threads that works on one problem.
#pragma once

#include <limits>

#ifdef __CUDACC__
#define VARPRO_PORTABLE __host__ __device__ inline
#else
#define VARPRO_PORTABLE inline
#endif

namespace varpro {

// a device may not call the functions of <limits>, but may use their values
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
constexpr double kLargest = std::numeric_limits<double>::max();
constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

/// One thread by itself.  The kernels on a GPU bring a team of their own: its members share what they write, each takes
/// every size-th entry starting at its rank, and sync() separates writing from reading.
struct Alone {
    static constexpr int rank = 0, size = 1;
    VARPRO_PORTABLE void sync() const {}
};

}  // namespace varpro
