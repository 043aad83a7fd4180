#include "../../kernels/convolve.hpp"

#include "cuda.hpp"

using namespace varpro::cuda;

namespace {

varpro::Squash squash_of(const std::string& name) {
    if (name == "tanh") return varpro::Squash::tanh;
    if (name == "logistic") return varpro::Squash::logistic;
    if (name == "smooth_abs") return varpro::Squash::smooth_abs;
    if (name == "square") return varpro::Squash::square;
    if (name == "softplus") return varpro::Squash::softplus;
    throw py::value_error("squash is '" + name + "'; it is tanh, logistic, smooth_abs, square or softplus");
}

void sizes(Keywords& from, ConvolveLaunch& launch) {
    varpro::ConvolveCall& c = launch.call;
    from("problems", launch.problems)("n", c.n)("planes", c.planes)("filters", c.filters)("terms", c.terms);
    from("mixed", c.mixed)("patch_height", c.patch_height)("patch_width", c.patch_width);
}

void filters(Keywords& from, ConvolveLaunch& launch) {
    sizes(from, launch);
    varpro::ConvolveCall& c = launch.call;
    from("images", c.x)("index", launch.index)("w", launch.w)("out", launch.out)("is_float", launch.is_float);
    from("height", c.height)("width", c.width)("stride", c.stride)("smoothing", c.smoothing);
    from("pad_rows", c.pad_rows)("pad_columns", c.pad_columns);
    from("cells_down", c.cells_down)("cells_across", c.cells_across);
    c.pixel = pixel_of(from.take<std::string>("pixel"));
    c.squash = squash_of(from.take<std::string>("squash"));
}

}  // namespace

void bind_convolve(py::module_& m) {
    bind_launch(m, "convolve_values", convolve_values, filters);
    bind_launch(m, "convolve_jacobian", convolve_jacobian, filters);
    bind_launch(m, "convolve_tangent", convolve_tangent, [](Keywords& from, ConvolveLaunch& launch) {
        filters(from, launch);
        from("along", launch.along);
    });
    bind_workspace(m, "convolve_workspace", convolve_workspace, sizes);
    bind_launch(m, "convolve_contract", convolve_contract, [](Keywords& from, ConvolveLaunch& launch) {
        filters(from, launch);
        from("weights", launch.weights)("workspace", launch.workspace);
    });
}
