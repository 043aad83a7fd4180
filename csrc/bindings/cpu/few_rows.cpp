#include "../../kernels/few_rows.hpp"

#include "cpu.hpp"

void bind_few_rows(py::module_& m) {
    m.def("few_rows", [](const Doubles& left, const Doubles& right, Doubles& out) {
        double* const to = out.mutable_data();
        const py::gil_scoped_release free;
        VARPRO_DISPATCH(few_rows(left.data(), right.data(), to, left.shape(0), left.shape(1), right.shape(1)));
    });
}
