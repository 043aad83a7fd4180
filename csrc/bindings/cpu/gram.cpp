#include "../../kernels/gram.hpp"

#include "cpu.hpp"

void bind_gram(py::module_& m) {
    m.def("accumulate_gram", [](const Doubles& phi, const Doubles& y, Doubles& gram, Doubles& cross) {
        double *const g = gram.mutable_data(), *const c = cross.mutable_data();
        const py::gil_scoped_release free;
        varpro::accumulate_gram(phi.data(), y.data(), g, c, phi.shape(0), phi.shape(1), y.shape(1));
    });
}
