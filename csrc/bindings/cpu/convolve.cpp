#include "../../kernels/convolve.hpp"

#include "cpu.hpp"

using namespace varpro;

namespace {

ConvolveCall call_of(const py::array& x, std::int64_t filters, const py::dict& shape) {
    const auto number = [&](const char* name) { return shape[name].cast<std::int64_t>(); };
    ConvolveCall call{};
    call.x = x.data();
    call.pixel = x.itemsize() == 1 ? Pixel::u8 : x.itemsize() == 4 ? Pixel::f32 : Pixel::f64;
    call.n = x.shape(0);
    call.planes = x.shape(1);
    call.height = x.shape(2);
    call.width = x.shape(3);
    call.filters = filters;
    call.patch_height = number("patch_height");
    call.patch_width = number("patch_width");
    call.terms = number("terms");
    call.mixed = shape["mixed"].cast<bool>();
    call.stride = number("stride");
    call.pad_rows = number("pad_rows");
    call.pad_columns = number("pad_columns");
    call.cells_down = number("cells_down");
    call.cells_across = number("cells_across");
    call.squash = shape["squash"].cast<Squash>();
    call.smoothing = shape["smoothing"].cast<double>();
    return call;
}

template <typename T>
void bind_for(py::module_& m) {
    using Table = Dense<T>;
    m.def("convolve_values", [](const py::array& x, const Table& w, Table& phi, const py::dict& shape) {
        const ConvolveCall call = call_of(x, w.shape(1), shape);
        const T* const from = w.data();
        T* const to = phi.mutable_data();
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(convolve_values(call, from, to));
    });
    m.def("convolve_jacobian", [](const py::array& x, const Table& w, Table& d, const py::dict& shape) {
        const ConvolveCall call = call_of(x, w.shape(1), shape);
        const T* const from = w.data();
        T* const to = d.mutable_data();
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(convolve_jacobian(call, from, to));
    });
    m.def("convolve_layer_jacobian", [](const py::array& x, const Table& w, const Table& layer, Table& j,
                                        std::int64_t first, const py::dict& shape) {
        const ConvolveCall call = call_of(x, w.shape(1), shape);
        const T *const from = w.data(), *const a = layer.data();
        T* const to = j.mutable_data() + first;
        const std::int64_t outputs = layer.shape(2), apart = j.shape(2);
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(convolve_layer_jacobian(call, from, a, outputs, to, apart));
    });
    m.def("convolve_tangent",
          [](const py::array& x, const Table& w, const Table& dw, Table& slope, const py::dict& shape) {
              const ConvolveCall call = call_of(x, w.shape(1), shape);
              const T *const from = w.data(), *const along = dw.data();
              T* const to = slope.mutable_data();
              const py::gil_scoped_release free;
              VARPRO_DISPATCH(convolve_tangent(call, from, along, to));
          });
    m.def("convolve_contract",
          [](const py::array& x, const Table& w, const Table& b, Doubles& gradient, const py::dict& shape) {
              const ConvolveCall call = call_of(x, w.shape(1), shape);
              const T *const from = w.data(), *const by = b.data();
              double* const to = gradient.mutable_data();
              const py::gil_scoped_release free;
              VARPRO_DISPATCH(convolve_contract(call, from, by, to));
          });
}

}  // namespace

void bind_convolve(py::module_& m) {
    py::enum_<Squash>(m, "Squash")
        .value("tanh", Squash::tanh)
        .value("logistic", Squash::logistic)
        .value("smooth_abs", Squash::smooth_abs)
        .value("square", Squash::square)
        .value("softplus", Squash::softplus);
    bind_for<float>(m);
    bind_for<double>(m);
}
