// Runs one kernel through the host shim, once for each order, and appends what it wrote to a file.
//
//   driver KERNEL key=value ...        arrays are files of raw numbers, absent keys null pointers
//
// orders=0,1,5  order of threads and blocks for each run     drop=file:line  a barrier to leave out     out=file
// Every array lies in an allocation of exactly its size, so that the address sanitizer sees what runs past it.  Outputs
// begin as bytes 0xCD: a test sees what was not written.
#include "driver.hpp"

#include <iostream>
#include <sstream>

#include "../../csrc/cuda/host/cuda_host.hpp"
#include "../../csrc/kernels/gauss_newton.hpp"
#include "../../csrc/kernels/jacobian_products.hpp"
#include "../../csrc/kernels/projector.hpp"
#include "../../csrc/kernels/scalarize.hpp"

/// Kernels that exercise the shim alone (shim_kernels.cu).
void run_shim_kernel(const std::string& name, int* out, std::size_t count);

namespace {

/// Quadratic or bilinear units, `rows` rows of w; Phi^T Phi and its workspace where the test asks for them.
void run_units(Arguments& a, std::ofstream& out, void (*launch)(const varpro::ScalarizeCall&, varpro::cuda::Stream)) {
    varpro::ScalarizeCall call{};
    call.images = a.array("images");
    call.index = a.integers("index");
    call.w = a.array("w");
    call.problems = a.number("problems"), call.n = a.number("n"), call.units = a.number("units");
    call.planes = a.number("planes"), call.height = a.number("height"), call.width = a.number("width");
    call.pixel = static_cast<varpro::Pixel>(a.number("pixel"));
    call.w_is_float = a.number("w_is_float"), call.d_is_float = a.number("d_is_float");
    call.logistic = a.number("logistic");
    const std::int64_t images = call.problems * call.n, columns = call.units + 1;
    const Output phi(images * columns * (call.w_is_float ? 4 : 8));
    const Output d(a.number("with_d") ? images * a.number("rows") * call.units * (call.d_is_float ? 4 : 8) : 0);
    const Output gram(a.has("with_gram") ? 8 * call.problems * columns * columns : 0);
    const Output workspace(a.has("with_gram") && !a.has("no_workspace") ? varpro::cuda::scalarize_workspace(call) : 0);
    call.phi = phi.bytes.get();
    call.d = d.size > 0 ? d.bytes.get() : nullptr;
    call.gram = gram.size > 0 ? gram.as<double>() : nullptr;
    call.workspace = workspace.size > 0 ? workspace.bytes.get() : nullptr;
    launch(call, nullptr);
    for (const Output* output : {&phi, &d, &gram}) output->append_to(out);
}

void run_assemble(Arguments& a, std::ofstream& out) {
    varpro::cuda::AssembleLaunch call{};
    call.gram = a.array("gram"), call.ztz = a.array("ztz");
    call.aat = a.array("aat"), call.gram_inverse = a.array("gram_inverse"), call.g = a.array("g");
    call.columns = a.integers("columns");
    call.lambda = a.array("lambda"), call.diagonal = a.array("diagonal");
    call.problems = a.number("problems"), call.m = a.number("m"), call.i = a.number("i"), call.k = a.number("k");
    call.gram_is_float = a.number("gram_is_float"), call.h_is_float = a.number("h_is_float");
    const Output h(call.problems * call.m * call.m * (call.h_is_float ? 4 : 8));
    call.h = h.bytes.get();
    varpro::cuda::assemble(call, nullptr);
    h.append_to(out);
}

void run_pack(Arguments& a, std::ofstream& out) {
    varpro::PackCall call{};
    call.images = a.array("images");
    call.index = a.integers("index");
    call.problems = a.number("problems"), call.n = a.number("n"), call.planes = a.number("planes");
    call.side = a.number("side");
    call.pixel = static_cast<varpro::Pixel>(a.number("pixel"));
    call.out_is_float = a.number("out_is_float");
    const std::int64_t entries = call.planes * call.side * (call.side + 1) / 2;
    const Output packed(call.problems * call.n * entries * (call.out_is_float ? 4 : 8));
    call.out = packed.bytes.get();
    varpro::cuda::pack(call, nullptr);
    packed.append_to(out);
}

void run_activate(Arguments& a, std::ofstream& out) {
    varpro::cuda::ActivateLaunch call{};
    call.problems = a.number("problems"), call.n = a.number("n"), call.units = a.number("units");
    call.is_float = a.number("is_float"), call.logistic = a.number("logistic");
    const std::int64_t size = call.problems * call.n * (call.units + 1) * (call.is_float ? 4 : 8);
    call.phi = a.array("phi", a.number("shift"));
    call.bias = a.array("bias");
    varpro::cuda::activate(call, nullptr);
    out.write(static_cast<const char*>(call.phi), size);
}

void run_jacobian_products(Arguments& a, std::ofstream& out) {
    varpro::cuda::JacobianProductsLaunch call{};
    call.problems = a.number("problems"), call.n = a.number("n"), call.m = a.number("m");
    call.rank = a.number("rank"), call.k = a.number("k"), call.d_is_float = a.number("d_is_float");
    call.d = a.array("d", a.number("shift")), call.u = a.doubles("u"), call.r = a.doubles("r");
    const Output z(8 * call.problems * call.rank * call.m), g(8 * call.problems * call.m * call.k);
    const Output workspace(a.has("no_workspace") ? 0 : varpro::cuda::jacobian_products_workspace(call));
    call.z = z.as<double>(), call.g = g.as<double>();
    call.workspace = workspace.size > 0 ? workspace.bytes.get() : nullptr;
    varpro::cuda::jacobian_products(call, nullptr);
    z.append_to(out);
    g.append_to(out);
}

void run_projector(Arguments& a, std::ofstream& out) {
    varpro::cuda::ProjectorLaunch call{};
    call.phi = a.array("phi"), call.gram = a.doubles("gram");
    call.problems = a.number("problems"), call.n = a.number("n"), call.units = a.number("units");
    call.ridge = a.real("ridge"), call.tolerance = a.real("tolerance");
    call.rescale = a.number("rescale"), call.phi_is_float = a.number("phi_is_float");
    call.u_is_float = a.number("u_is_float");
    const Output u(call.problems * call.n * call.units * (call.u_is_float ? 4 : 8));
    const Output back(call.problems * call.units * call.units * 8), condition(call.problems * 8);
    const Output rank(call.problems * 4), finite(call.problems * 4), workspace(projector_workspace(call));
    call.u = u.bytes.get(), call.back = back.as<double>(), call.condition = condition.as<double>();
    call.rank = rank.as<std::int32_t>(), call.finite = finite.as<std::int32_t>();
    call.workspace = workspace.bytes.get();
    varpro::cuda::projector(call, nullptr);
    for (const Output* output : {&u, &back, &condition, &rank, &finite}) output->append_to(out);
}

void run(const std::string& kernel, Arguments& arguments, std::ofstream& out) {
    if (kernel == "quadratic") return run_units(arguments, out, varpro::cuda::quadratic);
    if (kernel == "assemble") return run_assemble(arguments, out);
    if (kernel == "bilinear") return run_units(arguments, out, varpro::cuda::bilinear);
    if (kernel == "pack") return run_pack(arguments, out);
    if (kernel == "activate") return run_activate(arguments, out);
    if (kernel == "jacobian_products") return run_jacobian_products(arguments, out);
    if (kernel == "projector") return run_projector(arguments, out);
    if (run_convolve(kernel, arguments, out)) return;
    if (run_losses(kernel, arguments, out)) return;
    if (run_small_fits(kernel, arguments, out)) return;
    const Output numbers(4 * arguments.number("count"));
    run_shim_kernel(kernel, numbers.as<int>(), arguments.number("count"));
    numbers.append_to(out);
}

}  // namespace

int main(int count, char** words) {
    Arguments arguments;
    for (int w = 2; w < count; ++w) {
        const std::string word = words[w];
        arguments.values[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
    std::ofstream out(arguments.values.at("out"), std::ios::binary);
    std::istringstream orders(arguments.values.at("orders"));
    cuda_host::settings.dropped = arguments.has("drop") ? arguments.values.at("drop") : "";
    try {
        for (std::string order; std::getline(orders, order, ',');) {
            cuda_host::settings.order = std::stoul(order);
            run(words[1], arguments, out);
        }
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        return 3;
    }
    return out.good() ? 0 : 4;
}
