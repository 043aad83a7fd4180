// The small-problem kernels of varpro._cuda.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "cuda.hpp"
#include "search.hpp"

namespace py = pybind11;
using namespace varpro::cuda;

namespace {

Arithmetic arithmetic_of(const std::string& name) {
    if (name == "double") return Arithmetic::full;
    if (name == "single") return Arithmetic::single;
    if (name == "polished") return Arithmetic::polished;
    throw py::value_error("arithmetic is '" + name + "'; it is double, single or polished");
}

/// What both forms have in common.
SmallLaunch small_launch(std::uintptr_t y, std::uintptr_t weights, std::uintptr_t problems, std::uintptr_t columns,
                         std::uintptr_t parameters, std::uintptr_t states, std::uintptr_t rows, std::int64_t count,
                         std::int64_t n, std::int64_t n_columns, std::int64_t n_right, std::int64_t n_pairs,
                         std::int64_t n_parameters, std::int64_t stride, const py::dict& rules, double ridge,
                         bool kaufman, bool own_weights, bool y_is_float) {
    SmallLaunch call{};
    call.y = at(y), call.weights = at(weights);
    call.problems = at<const std::int64_t>(problems), call.rows = at<const std::int64_t>(rows);
    call.columns = at<const std::int32_t>(columns), call.parameters = at<const std::int32_t>(parameters);
    call.states = at<double>(states), call.stride = stride;
    call.count = count, call.n = n, call.i = n_columns, call.k = n_right, call.m = n_pairs, call.p = n_parameters;
    call.y_stride = n * n_right, call.weights_stride = own_weights ? n : 0;
    call.rules = varpro::search_rules(rules);
    call.ridge = ridge, call.kaufman = kaufman, call.y_is_float = y_is_float;
    return call;
}

void bind_searches(py::module_& m) {
    m.def(
        "small_searches",
        [](std::uintptr_t program, std::uintptr_t t, std::uintptr_t y, std::uintptr_t weights, std::uintptr_t problems,
           std::uintptr_t columns, std::uintptr_t parameters, std::uintptr_t states, std::uintptr_t rows,
           std::int64_t count, std::int64_t n, std::int64_t n_columns, std::int64_t n_right, std::int64_t n_pairs,
           std::int64_t n_parameters, std::int64_t stride, const py::dict& rules, double ridge, bool kaufman,
           bool own_t, bool own_weights, bool y_is_float, const std::string& arithmetic, int device,
           std::uintptr_t stream) {
            SmallLaunch call =
                small_launch(y, weights, problems, columns, parameters, states, rows, count, n, n_columns, n_right,
                             n_pairs, n_parameters, stride, rules, ridge, kaufman, own_weights, y_is_float);
            call.program = at<const varpro::ProgramColumn>(program);
            call.t = at<const double>(t), call.t_stride = own_t ? n : 0;
            const Arithmetic chosen = arithmetic_of(arithmetic);
            enqueue_on("small_searches", device, [&] { small_searches(call, chosen, at(stream)); });
        },
        py::kw_only(), py::arg("program"), py::arg("t"), py::arg("y"), py::arg("weights"), py::arg("problems"),
        py::arg("columns"), py::arg("parameters"), py::arg("states"), py::arg("rows"), py::arg("count"), py::arg("n"),
        py::arg("n_columns"), py::arg("n_right"), py::arg("n_pairs"), py::arg("n_parameters"), py::arg("stride"),
        py::arg("rules"), py::arg("ridge"), py::arg("kaufman"), py::arg("own_t"), py::arg("own_weights"),
        py::arg("y_is_float"), py::arg("arithmetic"), py::arg("device"), py::arg("stream"));
}

void bind_advance(py::module_& m) {
    m.def(
        "small_advance",
        [](std::uintptr_t phi, std::uintptr_t d, std::uintptr_t y, std::uintptr_t weights, std::uintptr_t problems,
           std::uintptr_t columns, std::uintptr_t parameters, std::uintptr_t states, std::uintptr_t rows,
           std::int64_t count, std::int64_t n, std::int64_t n_columns, std::int64_t n_right, std::int64_t n_pairs,
           std::int64_t n_parameters, std::int64_t stride, const py::dict& rules, double ridge, bool kaufman,
           bool own_weights, bool y_is_float, bool phi_is_float, int device, std::uintptr_t stream) {
            SmallLaunch call =
                small_launch(y, weights, problems, columns, parameters, states, rows, count, n, n_columns, n_right,
                             n_pairs, n_parameters, stride, rules, ridge, kaufman, own_weights, y_is_float);
            call.phi = at(phi), call.d = at(d), call.phi_is_float = phi_is_float;
            enqueue("small_advance", small_advance, call, device, stream);
        },
        py::kw_only(), py::arg("phi"), py::arg("d"), py::arg("y"), py::arg("weights"), py::arg("problems"),
        py::arg("columns"), py::arg("parameters"), py::arg("states"), py::arg("rows"), py::arg("count"), py::arg("n"),
        py::arg("n_columns"), py::arg("n_right"), py::arg("n_pairs"), py::arg("n_parameters"), py::arg("stride"),
        py::arg("rules"), py::arg("ridge"), py::arg("kaufman"), py::arg("own_weights"), py::arg("y_is_float"),
        py::arg("phi_is_float"), py::arg("device"), py::arg("stream"));
}

}  // namespace

void bind_small_fits(py::module_& m) {
    bind_searches(m);
    bind_advance(m);
}
