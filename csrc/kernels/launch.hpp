/// What holds for every launch of a CUDA kernel.  Formulas and letters of csrc/kernels/<stem>.hpp are those of both
/// backends; on a device every array is C-contiguous, lies on the current device, leads with the problems, and does not
/// alias another.
///
/// A call enqueues on `stream` and does not synchronise.  It throws LaunchError, with the kernel's name, if the launch
/// is refused.  No atomics: the same arguments give the same bits.
#pragma once

#include <stdexcept>

namespace varpro::cuda {

using Stream = void*;

struct LaunchError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace varpro::cuda
