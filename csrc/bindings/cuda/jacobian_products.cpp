#include "../../kernels/jacobian_products.hpp"

#include "cuda.hpp"

using namespace varpro::cuda;

void bind_jacobian_products(py::module_& m) {
    const auto sizes = [](Keywords& from, JacobianProductsLaunch& call) {
        from("problems", call.problems)("n", call.n)("pairs", call.m)("rank", call.rank)("outputs", call.k);
    };
    bind_workspace(m, "jacobian_products_workspace", jacobian_products_workspace, sizes);
    bind_launch(m, "jacobian_products", jacobian_products, [=](Keywords& from, JacobianProductsLaunch& call) {
        sizes(from, call);
        from("d", call.d)("u", call.u)("r", call.r)("z", call.z)("g", call.g)("workspace", call.workspace);
        from("d_is_float", call.d_is_float);
    });
}
