// The kernels on convolutional units.
#include "../../csrc/kernels/convolve.hpp"
#include "driver.hpp"

using namespace varpro::cuda;

namespace {

ConvolveLaunch launch_of(Arguments& a) {
    ConvolveLaunch launch{};
    varpro::ConvolveCall& c = launch.call;
    c.x = a.array("images");
    c.pixel = static_cast<varpro::Pixel>(a.number("pixel"));
    c.n = a.number("n"), c.planes = a.number("planes"), c.height = a.number("height"), c.width = a.number("width");
    c.filters = a.number("filters"), c.terms = a.number("terms"), c.mixed = a.number("mixed");
    c.patch_height = a.number("patch_height"), c.patch_width = a.number("patch_width");
    c.stride = a.number("stride");
    c.cells_down = a.number("cells_down"), c.cells_across = a.number("cells_across");
    c.pad_rows = a.number("pad_rows"), c.pad_columns = a.number("pad_columns");
    c.squash = static_cast<varpro::Squash>(a.number("squash")), c.smoothing = a.real("smoothing");
    launch.index = a.integers("index");
    launch.w = a.array("w"), launch.along = a.array("along"), launch.weights = a.array("weights");
    launch.problems = a.number("problems"), launch.is_float = a.number("is_float");
    return launch;
}

}  // namespace

bool run_convolve(const std::string& kernel, Arguments& a, std::ofstream& out) {
    if (!kernel.starts_with("convolve_")) return false;
    ConvolveLaunch launch = launch_of(a);
    const std::int64_t cells = launch.call.cells(), item = launch.is_float ? 4 : 8;
    const std::int64_t images = launch.problems * launch.call.n, table = launch.call.rows() * launch.call.filters;
    const bool contract = kernel == "convolve_contract";
    const Output made(contract                        ? 8 * launch.problems * table
                      : kernel == "convolve_jacobian" ? item * images * cells * table
                                                      : item * images * cells * launch.call.filters);
    const Output workspace(contract && !a.has("no_workspace") ? convolve_workspace(launch) : 0);
    launch.out = made.bytes.get();
    launch.workspace = workspace.size > 0 ? workspace.bytes.get() : nullptr;
    if (contract)
        convolve_contract(launch, nullptr);
    else if (kernel == "convolve_jacobian")
        convolve_jacobian(launch, nullptr);
    else if (kernel == "convolve_tangent")
        convolve_tangent(launch, nullptr);
    else
        convolve_values(launch, nullptr);
    made.append_to(out);
    return true;
}
