#include "../../kernels/softmax_divergence.hpp"

#include "cuda.hpp"

using namespace varpro::cuda;

namespace {

varpro::Divergence divergence_of(const std::string& name) {
    if (name == "pq") return varpro::Divergence::pq;
    if (name == "qp") return varpro::Divergence::qp;
    if (name == "squares") return varpro::Divergence::squares;
    throw py::value_error("kind is '" + name + "'; it is pq, qp or squares");
}

}  // namespace

void bind_softmax_divergence(py::module_& m) {
    const auto sizes = [](Keywords& from, DivergenceLaunch& call) {
        from("problems", call.problems)("n", call.n)("classes", call.classes);
    };
    bind_workspace(m, "softmax_divergence_workspace", softmax_divergence_workspace, sizes);
    bind_launch(m, "softmax_divergence", softmax_divergence, [=](Keywords& from, DivergenceLaunch& call) {
        sizes(from, call);
        from("f", call.f)("position", call.position)("order", call.order)("first", call.first);
        from("weights", call.weights)("best", call.best)("value", call.value)("by_f", call.by_f);
        from("by_weights", call.by_weights)("workspace", call.workspace)("features", call.m);
        from("f_is_float", call.f_is_float)("tau", call.tau)("scale", call.scale);
        call.kind = divergence_of(from.take<std::string>("kind"));
    });
}
