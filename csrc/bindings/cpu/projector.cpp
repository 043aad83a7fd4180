#include "../../kernels/projector.hpp"

#include "cpu.hpp"

void bind_projector(py::module_& m) {
    m.def("cholesky_qr2", [](const Doubles& phi, double ridge, Doubles& q, Doubles& r, Doubles& inverse,
                             Doubles& condition, Dense<std::int64_t>& info) {
        const py::ssize_t batches = phi.shape(0), n = phi.shape(1), i = phi.shape(2);
        double *const q_data = q.mutable_data(), *const r_data = r.mutable_data();
        double *const inverse_data = inverse.mutable_data(), *const kappa = condition.mutable_data();
        std::int64_t* const codes = info.mutable_data();
        const py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            codes[b] = varpro::cholesky_qr2(phi.data() + b * n * i, ridge, q_data + b * n * i, r_data + b * i * i,
                                            inverse_data + b * i * i, kappa + b, n, i);
    });
}
