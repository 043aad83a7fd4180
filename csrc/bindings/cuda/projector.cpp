#include "../../kernels/projector.hpp"

#include "cuda.hpp"

using namespace varpro::cuda;

void bind_projector(py::module_& m) {
    const auto sizes = [](Keywords& from, ProjectorLaunch& call) {
        from("problems", call.problems)("n", call.n)("units", call.units);
    };
    bind_workspace(m, "projector_workspace", projector_workspace, sizes);
    bind_launch(m, "projector", projector, [=](Keywords& from, ProjectorLaunch& call) {
        sizes(from, call);
        from("phi", call.phi)("gram", call.gram)("u", call.u)("back", call.back)("rank", call.rank);
        from("condition", call.condition)("finite", call.finite)("workspace", call.workspace);
        from("ridge", call.ridge)("tolerance", call.tolerance)("rescale", call.rescale);
        from("phi_is_float", call.phi_is_float)("u_is_float", call.u_is_float);
    });
}
