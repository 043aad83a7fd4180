// The projector of varpro._cuda.
#include "cuda.hpp"

namespace py = pybind11;
using namespace varpro::cuda;

void bind_projector(py::module_& m) {
    m.def(
        "projector_workspace",
        [](std::int64_t problems, std::int64_t n, std::int64_t units) {
            ProjectorLaunch call{};
            call.problems = problems, call.n = n, call.units = units;
            try {
                return projector_workspace(call);
            } catch (const LaunchError& error) {
                raise_backend_error(error.what());
            }
        },
        py::kw_only(), py::arg("problems"), py::arg("n"), py::arg("units"));
    m.def(
        "projector",
        [](std::uintptr_t phi, std::uintptr_t gram, std::uintptr_t u, std::uintptr_t back, std::uintptr_t rank,
           std::uintptr_t condition, std::uintptr_t finite, std::uintptr_t workspace, std::int64_t problems,
           std::int64_t n, std::int64_t units, double ridge, double tolerance, bool rescale, bool phi_is_float,
           bool u_is_float, int device, std::uintptr_t stream) {
            const ProjectorLaunch call{at(phi),
                                       at<const double>(gram),
                                       at(u),
                                       at<double>(back),
                                       at<std::int32_t>(rank),
                                       at<double>(condition),
                                       at<std::int32_t>(finite),
                                       at(workspace),
                                       problems,
                                       n,
                                       units,
                                       ridge,
                                       tolerance,
                                       rescale,
                                       phi_is_float,
                                       u_is_float};
            enqueue("projector", projector, call, device, stream);
        },
        py::kw_only(), py::arg("phi"), py::arg("gram"), py::arg("u"), py::arg("back"), py::arg("rank"),
        py::arg("condition"), py::arg("finite"), py::arg("workspace"), py::arg("problems"), py::arg("n"),
        py::arg("units"), py::arg("ridge"), py::arg("tolerance"), py::arg("rescale"), py::arg("phi_is_float"),
        py::arg("u_is_float"), py::arg("device"), py::arg("stream"));
}
