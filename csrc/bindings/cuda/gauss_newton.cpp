#include "../../kernels/gauss_newton.hpp"

#include "cuda.hpp"

using namespace varpro::cuda;

void bind_gauss_newton(py::module_& m) {
    bind_launch(m, "assemble", assemble, [](Keywords& from, AssembleLaunch& call) {
        from("gram", call.gram)("ztz", call.ztz)("aat", call.aat)("gram_inverse", call.gram_inverse)("g", call.g);
        from("columns", call.columns)("lam", call.lambda)("diagonal", call.diagonal)("h", call.h);
        from("problems", call.problems)("pairs", call.m)("units", call.i)("outputs", call.k);
        from("gram_is_float", call.gram_is_float)("h_is_float", call.h_is_float);
    });
}
