// varpro._cuda, the kernels of varpro.losses: class moments, rows on a sphere, divergences.
#include "cuda.hpp"

namespace py = pybind11;
using namespace varpro::cuda;

namespace {

void bind_class_order(py::module_& m) {
    m.def(
        "class_order",
        [](std::uintptr_t position, std::uintptr_t order, std::uintptr_t first, std::int64_t problems, std::int64_t n,
           std::int64_t classes, int device, std::uintptr_t stream) {
            const ClassOrderLaunch call{at<const std::int32_t>(position),
                                        at<std::int32_t>(order),
                                        at<std::int32_t>(first),
                                        problems,
                                        n,
                                        classes};
            enqueue("class_order", class_order, call, device, stream);
        },
        py::kw_only(), py::arg("position"), py::arg("order"), py::arg("first"), py::arg("problems"), py::arg("n"),
        py::arg("classes"), py::arg("device"), py::arg("stream"));
}

void bind_class_moments(py::module_& m) {
    m.def(
        "class_moments_workspace",
        [](std::int64_t problems, std::int64_t features, std::int64_t classes) {
            ClassMomentsLaunch call{};
            call.problems = problems, call.d = features, call.classes = classes;
            return class_moments_workspace(call);
        },
        py::kw_only(), py::arg("problems"), py::arg("features"), py::arg("classes"));
    m.def(
        "class_moments",
        [](std::uintptr_t f, std::uintptr_t order, std::uintptr_t first, std::uintptr_t means, std::uintptr_t within,
           std::uintptr_t h, std::uintptr_t workspace, std::int64_t problems, std::int64_t n, std::int64_t features,
           std::int64_t classes, bool f_is_float, int device, std::uintptr_t stream) {
            const ClassMomentsLaunch call{at(f),
                                          at<const std::int32_t>(order),
                                          at<const std::int32_t>(first),
                                          at<double>(means),
                                          at<double>(within),
                                          at<double>(h),
                                          at(workspace),
                                          problems,
                                          n,
                                          features,
                                          classes,
                                          f_is_float};
            enqueue("class_moments", class_moments, call, device, stream);
        },
        py::kw_only(), py::arg("f"), py::arg("order"), py::arg("first"), py::arg("means"), py::arg("within"),
        py::arg("h"), py::arg("workspace"), py::arg("problems"), py::arg("n"), py::arg("features"), py::arg("classes"),
        py::arg("f_is_float"), py::arg("device"), py::arg("stream"));
}

void bind_inward_scale(py::module_& m) {
    m.def(
        "inward_scale",
        [](std::uintptr_t x, std::uintptr_t g, std::uintptr_t out, std::uintptr_t s, std::uintptr_t along,
           std::int64_t n, std::int64_t features, bool is_float, double xi, double eps, int device,
           std::uintptr_t stream) {
            const InwardScaleLaunch call{at(x),    at(g), at(out), at<double>(s), at<double>(along), n, features,
                                         is_float, xi,    eps};
            enqueue("inward_scale", inward_scale, call, device, stream);
        },
        py::kw_only(), py::arg("x"), py::arg("g"), py::arg("out"), py::arg("s"), py::arg("along"), py::arg("n"),
        py::arg("features"), py::arg("is_float"), py::arg("xi"), py::arg("eps"), py::arg("device"), py::arg("stream"));
}

varpro::Divergence divergence_of(const std::string& name) {
    if (name == "pq") return varpro::Divergence::pq;
    if (name == "qp") return varpro::Divergence::qp;
    if (name == "squares") return varpro::Divergence::squares;
    throw py::value_error("kind is '" + name + "'; it is pq, qp or squares");
}

void bind_softmax_divergence(py::module_& m) {
    m.def(
        "softmax_divergence_workspace",
        [](std::int64_t problems, std::int64_t n, std::int64_t classes) {
            DivergenceLaunch call{};
            call.problems = problems, call.n = n, call.classes = classes;
            return softmax_divergence_workspace(call);
        },
        py::kw_only(), py::arg("problems"), py::arg("n"), py::arg("classes"));
    m.def(
        "softmax_divergence",
        [](std::uintptr_t f, std::uintptr_t position, std::uintptr_t order, std::uintptr_t first,
           std::uintptr_t weights, std::uintptr_t best, std::uintptr_t value, std::uintptr_t by_f,
           std::uintptr_t by_weights, std::uintptr_t workspace, std::int64_t problems, std::int64_t n,
           std::int64_t features, std::int64_t classes, const std::string& kind, bool f_is_float, double tau,
           double scale, int device, std::uintptr_t stream) {
            const DivergenceLaunch call{at(f),
                                        at<const std::int32_t>(position),
                                        at<const std::int32_t>(order),
                                        at<const std::int32_t>(first),
                                        at<const double>(weights),
                                        at<double>(best),
                                        at<double>(value),
                                        at(by_f),
                                        at<double>(by_weights),
                                        at(workspace),
                                        problems,
                                        n,
                                        features,
                                        classes,
                                        divergence_of(kind),
                                        f_is_float,
                                        tau,
                                        scale};
            enqueue("softmax_divergence", softmax_divergence, call, device, stream);
        },
        py::kw_only(), py::arg("f"), py::arg("position"), py::arg("order"), py::arg("first"), py::arg("weights"),
        py::arg("best"), py::arg("value"), py::arg("by_f"), py::arg("by_weights"), py::arg("workspace"),
        py::arg("problems"), py::arg("n"), py::arg("features"), py::arg("classes"), py::arg("kind"),
        py::arg("f_is_float"), py::arg("tau"), py::arg("scale"), py::arg("device"), py::arg("stream"));
}

}  // namespace

void bind_losses(py::module_& m) {
    bind_class_order(m);
    bind_class_moments(m);
    bind_inward_scale(m);
    bind_softmax_divergence(m);
}
