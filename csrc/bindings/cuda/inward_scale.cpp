#include "../../kernels/inward_scale.hpp"

#include "cuda.hpp"

void bind_inward_scale(py::module_& m) {
    bind_launch(m, "inward_scale", varpro::cuda::inward_scale, [](Keywords& from, varpro::InwardScaleCall& call) {
        from("x", call.x)("g", call.g)("out", call.out)("s", call.s)("along", call.along);
        from("n", call.n)("features", call.d)("is_float", call.is_float)("xi", call.xi)("eps", call.eps);
    });
}
