// The kernels of varpro.losses; `numbers` is a file of the call's real numbers.
#include "../../csrc/kernels/class_moments.hpp"
#include "../../csrc/kernels/inward_scale.hpp"
#include "../../csrc/kernels/softmax_divergence.hpp"
#include "driver.hpp"

namespace {

void run_class_order(Arguments& a, std::ofstream& out) {
    varpro::cuda::ClassOrderLaunch call{};
    call.problems = a.number("problems"), call.n = a.number("n"), call.classes = a.number("classes");
    call.position = a.integers("position");
    const Output order(4 * call.problems * call.n), first(4 * call.problems * (call.classes + 1));
    call.order = order.as<std::int32_t>(), call.first = first.as<std::int32_t>();
    varpro::cuda::class_order(call, nullptr);
    order.append_to(out);
    first.append_to(out);
}

void run_class_moments(Arguments& a, std::ofstream& out) {
    varpro::cuda::ClassMomentsLaunch call{};
    call.problems = a.number("problems"), call.n = a.number("n"), call.d = a.number("d");
    call.classes = a.number("classes"), call.f_is_float = a.number("f_is_float");
    call.f = a.array("f"), call.order = a.integers("order"), call.first = a.integers("first");
    const std::int64_t classes = call.problems * call.classes;
    const Output means(8 * classes * call.d), within(8 * classes);
    const Output h(a.number("with_h") ? 8 * call.problems * call.n * call.d : 0);
    const Output workspace(a.has("no_workspace") ? 0 : class_moments_workspace(call));
    call.means = means.as<double>(), call.within = within.as<double>();
    call.h = h.size > 0 ? h.as<double>() : nullptr;
    call.workspace = workspace.size > 0 ? workspace.bytes.get() : nullptr;
    varpro::cuda::class_moments(call, nullptr);
    for (const Output* output : {&means, &within, &h}) output->append_to(out);
}

void run_inward_scale(Arguments& a, std::ofstream& out) {
    varpro::InwardScaleCall call{};
    call.n = a.number("n"), call.d = a.number("d"), call.is_float = a.number("is_float");
    call.x = a.array("x"), call.g = a.array("g");
    const double* const numbers = a.doubles("numbers");
    call.xi = numbers[0], call.eps = numbers[1];
    const Output to(call.n * call.d * (call.is_float ? 4 : 8)), s(8 * call.n), along(call.g ? 8 * call.n : 0);
    call.out = to.bytes.get(), call.s = s.as<double>(), call.along = call.g ? along.as<double>() : nullptr;
    varpro::cuda::inward_scale(call, nullptr);
    for (const Output* output : {&to, &s, &along}) output->append_to(out);
}

void run_softmax_divergence(Arguments& a, std::ofstream& out) {
    varpro::cuda::DivergenceLaunch call{};
    call.problems = a.number("problems"), call.n = a.number("n"), call.m = a.number("m");
    call.classes = a.number("classes"), call.f_is_float = a.number("f_is_float");
    call.kind = static_cast<varpro::Divergence>(a.number("kind"));
    call.f = a.array("f"), call.position = a.integers("position");
    call.order = a.integers("order"), call.first = a.integers("first"), call.weights = a.doubles("weights");
    const double* const numbers = a.doubles("numbers");
    call.tau = numbers[0], call.scale = numbers[1];
    const std::int64_t classes = call.problems * call.classes;
    const Output value(8 * classes), by_f(call.problems * call.n * call.m * (call.f_is_float ? 4 : 8));
    const Output of_weights(8 * classes * call.m);  // the gradient, or the weights that were found
    const Output workspace(a.has("no_workspace") ? 0 : softmax_divergence_workspace(call));
    call.value = value.as<double>(), call.by_f = by_f.bytes.get();
    (a.number("eliminate") ? call.best : call.by_weights) = of_weights.as<double>();
    call.workspace = workspace.size > 0 ? workspace.bytes.get() : nullptr;
    varpro::cuda::softmax_divergence(call, nullptr);
    for (const Output* output : {&value, &by_f, &of_weights}) output->append_to(out);
}

}  // namespace

bool run_losses(const std::string& kernel, Arguments& arguments, std::ofstream& out) {
    if (kernel == "class_order")
        run_class_order(arguments, out);
    else if (kernel == "class_moments")
        run_class_moments(arguments, out);
    else if (kernel == "inward_scale")
        run_inward_scale(arguments, out);
    else if (kernel == "softmax_divergence")
        run_softmax_divergence(arguments, out);
    else
        return false;
    return true;
}
