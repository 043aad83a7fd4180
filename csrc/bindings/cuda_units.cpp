// varpro._cuda, the kernels on units: images to values and their derivatives.
#include "cuda.hpp"

namespace py = pybind11;
using namespace varpro::cuda;

namespace {

varpro::Pixel pixel_of(const std::string& name) {
    if (name == "uint8") return varpro::Pixel::u8;
    if (name == "float32") return varpro::Pixel::f32;
    if (name == "float64") return varpro::Pixel::f64;
    throw py::value_error("pixel is '" + name + "'; it is uint8, float32 or float64");
}

void bind_quadratic(py::module_& m) {
    m.def(
        "quadratic",
        [](std::uintptr_t images, const std::string& pixel, std::uintptr_t index, std::uintptr_t w, std::uintptr_t phi,
           std::uintptr_t d, std::int64_t problems, std::int64_t n, std::int64_t planes, std::int64_t side,
           std::int64_t units, bool w_is_float, bool d_is_float, bool logistic, std::uintptr_t gram,
           std::uintptr_t workspace, int device, std::uintptr_t stream) {
            const QuadraticLaunch call{at(images),
                                       at<const std::int32_t>(index),
                                       at(w),
                                       at(phi),
                                       at(d),
                                       problems,
                                       n,
                                       planes,
                                       side,
                                       units,
                                       pixel_of(pixel),
                                       w_is_float,
                                       d_is_float,
                                       logistic,
                                       at<double>(gram),
                                       at(workspace)};
            enqueue("quadratic", quadratic, call, device, stream);
        },
        py::kw_only(), py::arg("images"), py::arg("pixel"), py::arg("index"), py::arg("w"), py::arg("phi"),
        py::arg("d"), py::arg("problems"), py::arg("n"), py::arg("planes"), py::arg("side"), py::arg("units"),
        py::arg("w_is_float"), py::arg("d_is_float"), py::arg("logistic"), py::arg("gram"), py::arg("workspace"),
        py::arg("device"), py::arg("stream"));
}

void bind_bilinear(py::module_& m) {
    m.def(
        "bilinear",
        [](std::uintptr_t images, const std::string& pixel, std::uintptr_t index, std::uintptr_t w, std::uintptr_t phi,
           std::uintptr_t d, std::int64_t problems, std::int64_t n, std::int64_t height, std::int64_t width,
           std::int64_t units, bool w_is_float, bool d_is_float, bool logistic, std::uintptr_t gram,
           std::uintptr_t workspace, int device, std::uintptr_t stream) {
            const BilinearLaunch call{at(images),
                                      at<const std::int32_t>(index),
                                      at(w),
                                      at(phi),
                                      at(d),
                                      problems,
                                      n,
                                      height,
                                      width,
                                      units,
                                      pixel_of(pixel),
                                      w_is_float,
                                      d_is_float,
                                      logistic,
                                      at<double>(gram),
                                      at(workspace)};
            enqueue("bilinear", bilinear, call, device, stream);
        },
        py::kw_only(), py::arg("images"), py::arg("pixel"), py::arg("index"), py::arg("w"), py::arg("phi"),
        py::arg("d"), py::arg("problems"), py::arg("n"), py::arg("height"), py::arg("width"), py::arg("units"),
        py::arg("w_is_float"), py::arg("d_is_float"), py::arg("logistic"), py::arg("gram"), py::arg("workspace"),
        py::arg("device"), py::arg("stream"));
}

/// The bytes that quadratic or bilinear need for gram.
template <typename Call>
void bind_workspace(py::module_& m, const char* name, std::int64_t (*workspace)(const Call&)) {
    m.def(
        name,
        [workspace](std::int64_t problems, std::int64_t n, std::int64_t units) {
            Call call{};
            call.problems = problems, call.n = n, call.units = units;
            return workspace(call);
        },
        py::kw_only(), py::arg("problems"), py::arg("n"), py::arg("units"));
}

void bind_packed(py::module_& m) {
    m.def(
        "packed",
        [](std::uintptr_t images, const std::string& pixel, std::uintptr_t index, std::uintptr_t out,
           std::int64_t problems, std::int64_t n, std::int64_t planes, std::int64_t side, bool out_is_float, int device,
           std::uintptr_t stream) {
            const PackedLaunch call{
                at(images),  at<const std::int32_t>(index), at(out), problems, n, planes, side, pixel_of(pixel),
                out_is_float};
            enqueue("packed", packed, call, device, stream);
        },
        py::kw_only(), py::arg("images"), py::arg("pixel"), py::arg("index"), py::arg("out"), py::arg("problems"),
        py::arg("n"), py::arg("planes"), py::arg("side"), py::arg("out_is_float"), py::arg("device"),
        py::arg("stream"));
}

void bind_activate(py::module_& m) {
    m.def(
        "activate",
        [](std::uintptr_t phi, std::uintptr_t bias, std::int64_t problems, std::int64_t n, std::int64_t units,
           bool is_float, bool logistic, int device, std::uintptr_t stream) {
            const ActivateLaunch call{at(phi), at(bias), problems, n, units, is_float, logistic};
            enqueue("activate", activate, call, device, stream);
        },
        py::kw_only(), py::arg("phi"), py::arg("bias"), py::arg("problems"), py::arg("n"), py::arg("units"),
        py::arg("is_float"), py::arg("logistic"), py::arg("device"), py::arg("stream"));
}

}  // namespace

void bind_units(py::module_& m) {
    bind_quadratic(m);
    bind_workspace(m, "quadratic_workspace", quadratic_workspace);
    bind_bilinear(m);
    bind_workspace(m, "bilinear_workspace", bilinear_workspace);
    bind_packed(m);
    bind_activate(m);
}
