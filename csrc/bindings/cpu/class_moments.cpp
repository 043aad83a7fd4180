#include "../../kernels/class_moments.hpp"

#include "cpu.hpp"

using namespace varpro;

void bind_class_moments(py::module_& m) {
    m.def("class_moments", [](const py::array& f, const Dense<std::int64_t>& position, Dense<std::int64_t>& counts,
                              Doubles& means, Doubles& within, const py::object& h) {
        const py::ssize_t batches = f.shape(0), n = f.shape(1), d = f.shape(2), classes = counts.shape(1);
        const auto from = either(f);
        std::int64_t* const count = counts.mutable_data();
        double *const mean = means.mutable_data(), *const square = within.mutable_data(), *centred = optional_out(h);
        const py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            VARPRO_DISPATCH(class_moments({from.after(b * n * d), from.is_float(), position.data() + b * n,
                                           count + b * classes, mean + b * classes * d, square + b * classes,
                                           centred ? centred + b * n * d : nullptr, n, d, classes}));
    });
}
