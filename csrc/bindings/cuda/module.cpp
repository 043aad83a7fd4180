// varpro._cuda: the CUDA kernels for arrays that lie on the device, given as addresses.  No defaults and no mathematics
// here, and no checks of shapes: the Python entries, which hold the arrays, make them.
//
// Importing touches no driver.  A call looks for a device first, and raises varpro.errors.BackendError if there is none
// or the launch is refused.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "cuda.hpp"

void raise_backend_error(const std::string& message) {
    const py::object kind = py::module_::import("varpro.errors").attr("BackendError");
    PyErr_SetString(kind.ptr(), message.c_str());
    throw py::error_already_set();
}

#ifndef VARPRO_CUDA_ARCHITECTURES
#define VARPRO_CUDA_ARCHITECTURES "native"  // no number that a device could be compared with
#endif

namespace {

int device_count() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
        raise_backend_error("CUDA was asked for, but this machine has no CUDA device; use the CPU");
    if (error != cudaSuccess)
        raise_backend_error(std::string("CUDA was asked for, but its driver is missing or does not answer: ") +
                            cudaGetErrorString(error) + "; install a driver for CUDA " +
                            std::to_string(CUDART_VERSION / 1000) + " or use the CPU");
    return count;
}

}  // namespace

void enqueue_on(const std::string& kernel, int device, const std::function<void()>& launch) {
    const int count = device_count();
    if (device < 0 || device >= count)
        raise_backend_error(kernel + ": device " + std::to_string(device) + " was asked for, there are " +
                            std::to_string(count) + ", from 0");
    int before = 0;
    std::string refused;
    {
        const py::gil_scoped_release free;
        cudaGetDevice(&before);
        cudaSetDevice(device);
        try {
            launch();
        } catch (const varpro::cuda::LaunchError& error) {
            refused = error.what();
        }
        cudaSetDevice(before);
    }
    if (!refused.empty()) raise_backend_error(refused);
}

PYBIND11_MODULE(_cuda, m) {
    m.attr("cuda_version") = CUDART_VERSION;
    m.attr("architectures") = VARPRO_CUDA_ARCHITECTURES;
    m.def("device_count", device_count);
    bind_class_moments(m);
    bind_convolve(m);
    bind_gauss_newton(m);
    bind_inward_scale(m);
    bind_jacobian_products(m);
    bind_projector(m);
    bind_scalarize(m);
    bind_small_fits(m);
    bind_softmax_divergence(m);
}
