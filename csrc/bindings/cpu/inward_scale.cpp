#include "../../kernels/inward_scale.hpp"

#include "cpu.hpp"

using namespace varpro;

void bind_inward_scale(py::module_& m) {
    m.def("inward_scale", [](const py::array& x, const py::object& g, double xi, double eps, py::array& out, Doubles& s,
                             const py::object& along) {
        const InwardScaleCall call{x.data(),
                                   either(g).first,
                                   out.mutable_data(),
                                   s.mutable_data(),
                                   optional_out(along),
                                   either(x).is_float(),
                                   x.shape(0),
                                   x.shape(1),
                                   xi,
                                   eps};
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(inward_scale(call));
    });
}
