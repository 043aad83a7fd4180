// varpro._cuda: the CUDA kernels for arrays that lie on the device, given as addresses.  No defaults and no mathematics
// here, and no checks of shapes: whoever holds the arrays makes them.
//
// Importing touches no driver.  A call looks for a device first, and raises varpro.errors.BackendError where there is
// none or where the launch is refused.
#include "cuda.hpp"

#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace py = pybind11;
using namespace varpro::cuda;

void raise_backend_error(const std::string& message) {
    const py::object kind = py::module_::import("varpro.errors").attr("BackendError");
    PyErr_SetString(kind.ptr(), message.c_str());
    throw py::error_already_set();
}

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

void enqueue_on(const char* kernel, int device, const std::function<void()>& launch) {
    const int count = device_count();
    if (device < 0 || device >= count)
        raise_backend_error(std::string(kernel) + ": device " + std::to_string(device) + " was asked for, there are " +
                            std::to_string(count) + ", from 0");
    int before = 0;
    std::string refused;
    {
        const py::gil_scoped_release free;
        cudaGetDevice(&before);
        cudaSetDevice(device);
        try {
            launch();
        } catch (const LaunchError& error) {
            refused = error.what();
        }
        cudaSetDevice(before);
    }
    if (!refused.empty()) raise_backend_error(refused);
}

namespace {

void bind_assemble(py::module_& m) {
    m.def(
        "assemble",
        [](std::uintptr_t gram, std::uintptr_t ztz, std::uintptr_t aat, std::uintptr_t gram_inverse, std::uintptr_t g,
           std::uintptr_t columns, std::uintptr_t lam, std::uintptr_t diagonal, std::uintptr_t h, std::int64_t problems,
           std::int64_t pairs, std::int64_t units, std::int64_t outputs, bool gram_is_float, bool h_is_float,
           int device, std::uintptr_t stream) {
            const AssembleLaunch call{
                at(gram), at(ztz),       at(aat),   at(gram_inverse), at(g), at<const std::int32_t>(columns),
                at(lam),  at(diagonal),  at(h),     problems,         pairs, units,
                outputs,  gram_is_float, h_is_float};
            enqueue("assemble", assemble, call, device, stream);
        },
        py::kw_only(), py::arg("gram"), py::arg("ztz"), py::arg("aat"), py::arg("gram_inverse"), py::arg("g"),
        py::arg("columns"), py::arg("lam"), py::arg("diagonal"), py::arg("h"), py::arg("problems"), py::arg("pairs"),
        py::arg("units"), py::arg("outputs"), py::arg("gram_is_float"), py::arg("h_is_float"), py::arg("device"),
        py::arg("stream"));
}

JacobianProductsLaunch products_call(std::uintptr_t d, std::uintptr_t u, std::uintptr_t r, std::uintptr_t z,
                                     std::uintptr_t g, std::uintptr_t workspace, std::int64_t problems, std::int64_t n,
                                     std::int64_t pairs, std::int64_t rank, std::int64_t outputs, bool d_is_float) {
    return {at(d),
            at<const double>(u),
            at<const double>(r),
            at<double>(z),
            at<double>(g),
            at(workspace),
            problems,
            n,
            pairs,
            rank,
            outputs,
            d_is_float};
}

void bind_jacobian_products(py::module_& m) {
    m.def(
        "jacobian_products_workspace",
        [](std::int64_t problems, std::int64_t n, std::int64_t pairs, std::int64_t rank, std::int64_t outputs) {
            return jacobian_products_workspace(
                products_call(0, 0, 0, 0, 0, 0, problems, n, pairs, rank, outputs, false));
        },
        py::kw_only(), py::arg("problems"), py::arg("n"), py::arg("pairs"), py::arg("rank"), py::arg("outputs"));
    m.def(
        "jacobian_products",
        [](std::uintptr_t d, std::uintptr_t u, std::uintptr_t r, std::uintptr_t z, std::uintptr_t g,
           std::uintptr_t workspace, std::int64_t problems, std::int64_t n, std::int64_t pairs, std::int64_t rank,
           std::int64_t outputs, bool d_is_float, int device, std::uintptr_t stream) {
            enqueue("jacobian_products", jacobian_products,
                    products_call(d, u, r, z, g, workspace, problems, n, pairs, rank, outputs, d_is_float), device,
                    stream);
        },
        py::kw_only(), py::arg("d"), py::arg("u"), py::arg("r"), py::arg("z"), py::arg("g"), py::arg("workspace"),
        py::arg("problems"), py::arg("n"), py::arg("pairs"), py::arg("rank"), py::arg("outputs"), py::arg("d_is_float"),
        py::arg("device"), py::arg("stream"));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
    m.attr("cuda_version") = CUDART_VERSION;
    m.def("device_count", device_count);
    bind_units(m);
    bind_projector(m);
    bind_small_fits(m);
    bind_jacobian_products(m);
    bind_assemble(m);
    bind_losses(m);
}
