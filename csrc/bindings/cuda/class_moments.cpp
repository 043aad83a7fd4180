#include "../../kernels/class_moments.hpp"

#include "cuda.hpp"

using namespace varpro::cuda;

void bind_class_moments(py::module_& m) {
    bind_launch(m, "class_order", class_order, [](Keywords& from, ClassOrderLaunch& call) {
        from("position", call.position)("order", call.order)("first", call.first);
        from("problems", call.problems)("n", call.n)("classes", call.classes);
    });
    const auto sizes = [](Keywords& from, ClassMomentsLaunch& call) {
        from("problems", call.problems)("features", call.d)("classes", call.classes);
    };
    bind_workspace(m, "class_moments_workspace", class_moments_workspace, sizes);
    bind_launch(m, "class_moments", class_moments, [=](Keywords& from, ClassMomentsLaunch& call) {
        sizes(from, call);
        from("f", call.f)("order", call.order)("first", call.first)("means", call.means)("within", call.within);
        from("h", call.h)("workspace", call.workspace)("n", call.n)("f_is_float", call.f_is_float);
    });
}
