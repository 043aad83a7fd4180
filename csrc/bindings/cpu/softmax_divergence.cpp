#include "../../kernels/softmax_divergence.hpp"

#include "cpu.hpp"

using namespace varpro;

void bind_softmax_divergence(py::module_& m) {
    m.def("softmax_divergence", [](const py::array& f, const Dense<std::int64_t>& position, const py::object& weights,
                                   const py::object& best, Doubles& value, py::array& by_f,
                                   const py::object& by_weights, double tau, double scale, int kind) {
        const py::ssize_t batches = f.shape(0), n = f.shape(1), width = f.shape(2), classes = value.shape(1);
        const auto from = either(f);
        const auto to = either_out(by_f);
        const double* const w = optional(weights);
        double *const found = optional_out(best), *const sums = value.mutable_data();
        double* const slope = optional_out(by_weights);
        const py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b) {
            const py::ssize_t at = b * classes * width;
            VARPRO_DISPATCH(softmax_divergence({from.after(b * n * width), from.is_float(), position.data() + b * n,
                                                w ? w + at : nullptr, found ? found + at : nullptr, sums + b * classes,
                                                to.after(b * n * width), slope ? slope + at : nullptr, n, width,
                                                classes, tau, scale, static_cast<Divergence>(kind)}));
        }
    });
}
