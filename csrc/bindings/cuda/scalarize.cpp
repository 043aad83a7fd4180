#include "../../kernels/scalarize.hpp"

#include "cuda.hpp"

using namespace varpro::cuda;

varpro::Pixel pixel_of(const std::string& name) {
    if (name == "uint8") return varpro::Pixel::u8;
    if (name == "float32") return varpro::Pixel::f32;
    if (name == "float64") return varpro::Pixel::f64;
    throw py::value_error("pixel is '" + name + "'; it is uint8, float32 or float64");
}

namespace {

void sizes(Keywords& from, varpro::ScalarizeCall& call) {
    from("problems", call.problems)("n", call.n)("units", call.units);
}

void units(Keywords& from, varpro::ScalarizeCall& call) {
    sizes(from, call);
    from("images", call.images)("index", call.index)("w", call.w)("phi", call.phi)("d", call.d);
    from("planes", call.planes)("height", call.height)("width", call.width);
    from("w_is_float", call.w_is_float)("d_is_float", call.d_is_float)("logistic", call.logistic);
    from("gram", call.gram)("workspace", call.workspace);
    call.pixel = pixel_of(from.take<std::string>("pixel"));
}

}  // namespace

void bind_scalarize(py::module_& m) {
    bind_workspace(m, "scalarize_workspace", scalarize_workspace, sizes);
    bind_launch(m, "quadratic", quadratic, units);
    bind_launch(m, "bilinear", bilinear, units);
    bind_launch(m, "pack", pack, [](Keywords& from, varpro::PackCall& call) {
        from("images", call.images)("index", call.index)("out", call.out)("problems", call.problems)("n", call.n);
        from("planes", call.planes)("side", call.side)("out_is_float", call.out_is_float);
        call.pixel = pixel_of(from.take<std::string>("pixel"));
    });
    bind_launch(m, "activate", activate, [](Keywords& from, ActivateLaunch& call) {
        from("phi", call.phi)("bias", call.bias)("problems", call.problems)("n", call.n)("units", call.units);
        from("is_float", call.is_float)("logistic", call.logistic);
    });
}
