// varpro._cuda: the CUDA kernels for arrays that lie on the device, given as addresses.  No defaults and no mathematics
// here, and no checks of shapes: whoever holds the arrays makes them.
//
// Importing touches no driver.  A call looks for a device first, and raises varpro.errors.BackendError where there is
// none or where the launch is refused.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "../cuda/launch.hpp"

namespace py = pybind11;
using namespace varpro::cuda;

namespace {

[[noreturn]] void raise_backend_error(const std::string& message) {
    const py::object kind = py::module_::import("varpro.errors").attr("BackendError");
    PyErr_SetString(kind.ptr(), message.c_str());
    throw py::error_already_set();
}

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

/// Pointers come as integers; 0 is a null pointer.
void* at(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

template <typename Call>
void enqueue(const char* kernel, void (*launch)(const Call&, Stream), const Call& call, int device,
             std::uintptr_t stream) {
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
            launch(call, at(stream));
        } catch (const LaunchError& error) {
            refused = error.what();
        }
        cudaSetDevice(before);
    }
    if (!refused.empty()) raise_backend_error(refused);
}

void bind_quadratic(py::module_& m) {
    m.def(
        "quadratic",
        [](std::uintptr_t images, const std::string& pixel, std::uintptr_t index, std::uintptr_t w, std::uintptr_t phi,
           std::uintptr_t d, std::int64_t problems, std::int64_t n, std::int64_t planes, std::int64_t side,
           std::int64_t units, bool w_is_float, bool d_is_float, bool logistic, int device, std::uintptr_t stream) {
            if (pixel != "uint8" && pixel != "float32" && pixel != "float64")
                throw py::value_error("pixel is '" + pixel + "'; it is uint8, float32 or float64");
            const varpro::Pixel type = pixel == "uint8"     ? varpro::Pixel::u8
                                       : pixel == "float32" ? varpro::Pixel::f32
                                                            : varpro::Pixel::f64;
            const QuadraticLaunch call{at(images), static_cast<const std::int32_t*>(at(index)),
                                       at(w),      at(phi),
                                       at(d),      problems,
                                       n,          planes,
                                       side,       units,
                                       type,       w_is_float,
                                       d_is_float, logistic};
            enqueue("quadratic", quadratic, call, device, stream);
        },
        py::kw_only(), py::arg("images"), py::arg("pixel"), py::arg("index"), py::arg("w"), py::arg("phi"),
        py::arg("d"), py::arg("problems"), py::arg("n"), py::arg("planes"), py::arg("side"), py::arg("units"),
        py::arg("w_is_float"), py::arg("d_is_float"), py::arg("logistic"), py::arg("device"), py::arg("stream"));
}

void bind_assemble(py::module_& m) {
    m.def(
        "assemble",
        [](std::uintptr_t gram, std::uintptr_t ztz, std::uintptr_t aat, std::uintptr_t gram_inverse, std::uintptr_t g,
           std::uintptr_t columns, std::uintptr_t lam, std::uintptr_t diagonal, std::uintptr_t h, std::int64_t problems,
           std::int64_t pairs, std::int64_t units, std::int64_t outputs, bool gram_is_float, bool h_is_float,
           int device, std::uintptr_t stream) {
            const AssembleLaunch call{at(gram),         at(ztz),       at(aat),
                                      at(gram_inverse), at(g),         static_cast<const std::int32_t*>(at(columns)),
                                      at(lam),          at(diagonal),  at(h),
                                      problems,         pairs,         units,
                                      outputs,          gram_is_float, h_is_float};
            enqueue("assemble", assemble, call, device, stream);
        },
        py::kw_only(), py::arg("gram"), py::arg("ztz"), py::arg("aat"), py::arg("gram_inverse"), py::arg("g"),
        py::arg("columns"), py::arg("lam"), py::arg("diagonal"), py::arg("h"), py::arg("problems"), py::arg("pairs"),
        py::arg("units"), py::arg("outputs"), py::arg("gram_is_float"), py::arg("h_is_float"), py::arg("device"),
        py::arg("stream"));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
    m.attr("cuda_version") = CUDART_VERSION;
    m.def("device_count", device_count);
    bind_quadratic(m);
    bind_assemble(m);
}
