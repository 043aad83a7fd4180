// Small problems; the states go out as they are after the call.
#include <cstring>

#include "../../csrc/kernels/small_fits.hpp"
#include "driver.hpp"

namespace {

const std::int64_t* longs(Arguments& a, const std::string& key) {
    return reinterpret_cast<const std::int64_t*>(a.array(key));
}

varpro::cuda::SmallLaunch small_launch(Arguments& a) {
    varpro::cuda::SmallLaunch call{};
    call.program = reinterpret_cast<const varpro::ProgramColumn*>(a.array("program"));
    call.t = a.doubles("t");
    call.phi = a.array("phi"), call.d = a.array("d"), call.y = a.array("y"), call.weights = a.array("weights");
    call.problems = longs(a, "problems"), call.rows = longs(a, "rows");
    call.links = {a.integers("source"), a.doubles("factor"), a.doubles("offset"),
                  a.has("source") ? a.number("offset_stride") : 0};
    call.box = {a.doubles("lower"), a.doubles("upper")};
    call.columns = a.integers("columns"), call.parameters = a.integers("parameters");
    call.states = reinterpret_cast<double*>(a.array("states"));
    call.count = a.number("count"), call.n = a.number("n"), call.i = a.number("i"), call.k = a.number("k");
    call.m = a.number("m"), call.p = a.number("p");
    call.parts = a.has("parts") ? a.number("parts") : 1;
    call.t_stride = a.number("own_t") * call.n / call.parts, call.y_stride = call.n * call.k;
    call.weights_stride = a.number("own_weights") * call.n, call.stride = a.number("stride");
    const double* const rules = a.doubles("rules");  // and the ridge behind them
    std::memcpy(&call.rules, rules, sizeof call.rules);
    call.ridge = rules[sizeof call.rules / sizeof(double)];
    call.kaufman = a.number("kaufman"), call.y_is_float = a.number("y_is_float");
    call.phi_is_float = a.number("phi_is_float"), call.in_turn = a.number("in_turn");
    call.arithmetic = static_cast<varpro::cuda::Arithmetic>(a.has("arithmetic") ? a.number("arithmetic") : 0);
    return call;
}

}  // namespace

bool run_small_fits(const std::string& kernel, Arguments& arguments, std::ofstream& out) {
    if (kernel != "small_advance" && kernel != "small_searches") return false;
    const varpro::cuda::SmallLaunch call = small_launch(arguments);
    if (kernel == "small_advance")
        varpro::cuda::small_advance(call, nullptr);
    else
        varpro::cuda::small_searches(call, nullptr);
    const auto size = static_cast<std::streamsize>(arguments.number("n_states") * call.stride * sizeof(double));
    out.write(reinterpret_cast<const char*>(call.states), size);
    return true;
}
