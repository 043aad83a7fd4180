#include "../../kernels/small_fits.hpp"

#include "../search.hpp"
#include "cuda.hpp"

using namespace varpro::cuda;

namespace {

Arithmetic arithmetic_of(const std::string& name) {
    if (name == "double") return Arithmetic::full;
    if (name == "single") return Arithmetic::single;
    if (name == "polished") return Arithmetic::polished;
    throw py::value_error("arithmetic is '" + name + "'; it is double, single or polished");
}

/// What both forms have in common.
void problems(Keywords& from, SmallLaunch& call) {
    from("y", call.y)("weights", call.weights)("problems", call.problems)("rows", call.rows)("states", call.states);
    from("columns", call.columns)("parameters", call.parameters)("stride", call.stride);
    from("count", call.count)("n", call.n)("n_columns", call.i)("n_right", call.k)("n_pairs", call.m);
    from("n_parameters", call.p)("ridge", call.ridge)("kaufman", call.kaufman)("y_is_float", call.y_is_float);
    call.y_stride = call.n * call.k;
    call.weights_stride = from.take<bool>("own_weights") ? call.n : 0;
    call.rules = varpro::search_rules(from.take<py::dict>("rules"));
    from("lower", call.box.lower)("upper", call.box.upper);
}

}  // namespace

void bind_small_fits(py::module_& m) {
    bind_launch(m, "small_searches", small_searches, [](Keywords& from, SmallLaunch& call) {
        problems(from, call);
        from("program", call.program)("t", call.t);
        from("parts", call.parts);
        call.t_stride = from.take<bool>("own_t") ? call.n / call.parts : 0;
        from("source", call.links.source)("factor", call.links.factor)("offset", call.links.offset);
        from("offset_stride", call.links.stride);
        call.arithmetic = arithmetic_of(from.take<std::string>("arithmetic"));
    });
    bind_launch(m, "small_advance", small_advance, [](Keywords& from, SmallLaunch& call) {
        problems(from, call);
        call.parts = 1;
        from("phi", call.phi)("d", call.d)("phi_is_float", call.phi_is_float);
    });
}
