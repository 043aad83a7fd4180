#include "../../kernels/gauss_newton.hpp"

#include "cpu.hpp"

using namespace varpro;

void bind_gauss_newton(py::module_& m) {
    m.def("normal_matrix", [](const py::array& d, const Doubles& z, const Doubles& aat, const py::object& inverse,
                              const Doubles& g, const Dense<std::int32_t>& columns, Doubles& h) {
        const py::ssize_t batches = d.shape(0), n = d.shape(1), pairs = d.shape(2);
        const py::ssize_t r = z.shape(1), i = aat.shape(1), k = g.shape(2);
        const auto from = either(d);
        const double* const gi = optional(inverse);
        double* const out = h.mutable_data();
        const py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            normal_matrix({from.after(b * n * pairs), from.is_float(), z.data() + b * r * pairs, aat.data() + b * i * i,
                           gi ? gi + b * i * i : nullptr, g.data() + b * pairs * k, columns.data(),
                           out + b * pairs * pairs, n, pairs, r, i, k});
    });
    m.def("damped_solve", [](const Doubles& h, const Doubles& diagonal, const Doubles& lambda, const Doubles& rhs,
                             Doubles& step, Dense<std::int64_t>& info, bool single) {
        const py::ssize_t batches = h.shape(0), p = h.shape(1);
        double* const out = step.mutable_data();
        std::int64_t* const codes = info.mutable_data();
        const py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            codes[b] = damped_solve(h.data() + b * p * p, diagonal.data() + b * p, lambda.data()[b], rhs.data() + b * p,
                                    out + b * p, p, single);
    });
}
