#include "../../kernels/scalarize.hpp"

#include "cpu.hpp"

using namespace varpro;

namespace {

Pixel pixel_of(const py::array& images) {
    return images.itemsize() == 1 ? Pixel::u8 : images.itemsize() == 4 ? Pixel::f32 : Pixel::f64;
}

const std::int32_t* index_of(const py::object& index) {
    return index.is_none() ? nullptr : index.cast<Dense<std::int32_t>>().data();
}

/// images (rows, planes, height, width); bilinear units see the planes stacked.
ScalarizeCall units_call(const py::array& images, const py::object& index, const Doubles& w, Doubles& phi,
                         const py::object& d, bool logistic, bool stacked) {
    const py::ssize_t below = stacked ? images.shape(1) : 1;
    ScalarizeCall call{};
    call.images = images.data(), call.pixel = pixel_of(images), call.index = index_of(index);
    call.w = w.data(), call.phi = phi.mutable_data(), call.d = either_out(d).first;
    call.problems = phi.shape(0), call.n = phi.shape(1), call.units = w.shape(2);
    call.planes = images.shape(1) / below, call.height = below * images.shape(2), call.width = images.shape(3);
    call.d_is_float = either_out(d).is_float(), call.logistic = logistic;
    return call;
}

WindowCall window_call(const py::array& x, const Dense<std::int32_t>& windows, const Dense<std::int64_t>& offsets) {
    return {x.data(),   pixel_of(x), windows.data(), offsets.data(),  x.shape(0),
            x.shape(1), x.shape(2),  x.shape(3),     windows.shape(0)};
}

template <typename T>
void bind_in(py::module_& m, const std::string& precision) {
    m.def(("activate_" + precision).c_str(), [](Dense<T>& q, const Dense<T>& bias, bool logistic) {
        T* const data = q.mutable_data();
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(activate(data, bias.data(), q.shape(0), bias.shape(0), q.shape(1), logistic));
    });
    m.def(("window_forward_" + precision).c_str(),
          [](const py::array& x, const Dense<std::int32_t>& windows, const Dense<std::int64_t>& offsets,
             const Dense<T>& matrices, Dense<T>& q) {
              const WindowCall call = window_call(x, windows, offsets);
              T* const to = q.mutable_data();
              const py::gil_scoped_release free;
              VARPRO_DISPATCH(window_forward(call, matrices.data(), to));
          });
    m.def(("window_adjoint_" + precision).c_str(),
          [](const py::array& x, const Dense<std::int32_t>& windows, const Dense<std::int64_t>& offsets,
             const Dense<T>& b, Dense<T>& matrices) {
              const WindowCall call = window_call(x, windows, offsets);
              T* const to = matrices.mutable_data();
              const py::gil_scoped_release free;
              VARPRO_DISPATCH(window_adjoint(call, b.data(), to));
          });
}

}  // namespace

void bind_scalarize(py::module_& m) {
    m.def("quadratic", [](const py::array& images, const py::object& index, const Doubles& w, Doubles& phi,
                          const py::object& d, bool logistic, bool symmetric) {
        ScalarizeCall call = units_call(images, index, w, phi, d, logistic, false);
        call.symmetric = symmetric;
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(quadratic(call));
    });
    m.def("bilinear", [](const py::array& images, const py::object& index, const Doubles& w, Doubles& phi,
                         const py::object& d, bool logistic) {
        const ScalarizeCall call = units_call(images, index, w, phi, d, logistic, true);
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(bilinear(call));
    });
    m.def("pack", [](const py::array& images, const py::object& index, py::array& out) {
        const PackCall call{images.data(), pixel_of(images), index_of(index), out.mutable_data(),    1,
                            out.shape(0),  images.shape(1),  images.shape(2), either(out).is_float()};
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(pack(call));
    });
    bind_in<float>(m, "float");
    bind_in<double>(m, "double");
    m.def("window_jacobian",
          [](const py::array& x, const Dense<std::int32_t>& windows, const Dense<std::int64_t>& offsets,
             const Doubles& u, const Doubles& v, const Doubles& slope, const py::array& d) {
              const WindowCall call = window_call(x, windows, offsets);
              const auto out = either_out(d);
              const py::gil_scoped_release free;
              VARPRO_DISPATCH(window_jacobian(call, u.data(), v.data(), slope.data(), out.first, out.is_float()));
          });
}
