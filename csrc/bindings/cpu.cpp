// varpro._cpu: the compiled kernels for NumPy arrays.  No defaults and no mathematics here; the Python entry points
// check.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "../cpu/blas.hpp"
#include "../kernels/few_rows.hpp"
#include "../kernels/gauss_newton.hpp"
#include "../kernels/projector.hpp"
#include "../kernels/scalarize.hpp"

namespace py = pybind11;
using namespace varpro;

void bind_small_fits(py::module_& m, const std::string& instruction_set);
void bind_losses(py::module_& m, const std::string& instruction_set);
void bind_search(py::module_& m);

template <typename T>
using Dense = py::array_t<T, py::array::c_style>;

namespace {

template <typename F>
F* capsule(const py::dict& api, const char* name) {
    const py::capsule held = api[name].cast<py::capsule>();
    return reinterpret_cast<F*>(held.get_pointer());
}

void load_blas() {
    const py::dict b = py::module_::import("scipy.linalg.cython_blas").attr("__pyx_capi__");
    const py::dict l = py::module_::import("scipy.linalg.cython_lapack").attr("__pyx_capi__");
    blas::table = {capsule<blas::Gemm>(b, "dgemm"),        capsule<blas::Syrk>(b, "dsyrk"),
                   capsule<blas::SyrkFloat>(b, "ssyrk"),   capsule<blas::Trsm>(b, "dtrsm"),
                   capsule<blas::Potrf>(l, "dpotrf"),      capsule<blas::Potrs>(l, "dpotrs"),
                   capsule<blas::Trtri>(l, "dtrtri"),      capsule<blas::Symv>(b, "dsymv"),
                   capsule<blas::PotrfFloat>(l, "spotrf"), capsule<blas::PotrsFloat>(l, "spotrs")};
}

/// The kernels of one instruction set.
struct Variant {
    decltype(&baseline::quadratic) quadratic;
    decltype(&baseline::bilinear) bilinear;
    void (*activate_double)(double*, const double*, std::int64_t, std::int64_t, std::int64_t, bool);
    void (*activate_float)(float*, const float*, std::int64_t, std::int64_t, std::int64_t, bool);
    void (*forward_float)(const WindowCall&, const float*, float*);
    void (*forward_double)(const WindowCall&, const double*, double*);
    void (*adjoint_float)(const WindowCall&, const float*, float*);
    void (*adjoint_double)(const WindowCall&, const double*, double*);
    decltype(&baseline::window_jacobian) jacobian;
    decltype(&baseline::few_rows) few_rows;
    Weigh weigh;
    std::string name;
};

#define VARPRO_VARIANT(isa)    \
    {isa::quadratic,           \
     isa::bilinear,            \
     isa::activate,            \
     isa::activate,            \
     isa::window_forward,      \
     isa::window_forward,      \
     isa::window_adjoint,      \
     isa::window_adjoint,      \
     isa::window_jacobian,     \
     isa::few_rows,            \
     {isa::weigh, isa::weigh}, \
     #isa}

/// The variants that this build has and this processor runs, the widest last.
std::vector<Variant> variants() {
    std::vector<Variant> found{VARPRO_VARIANT(baseline)};
#ifdef VARPRO_X86_VARIANTS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(VARPRO_VARIANT(avx2));
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        found.push_back(VARPRO_VARIANT(avx512));
#endif
    return found;
}

/// The widest variant, or the one that VARPRO_INSTRUCTION_SET names.
Variant choose(const std::vector<Variant>& all) {
    const char* const wanted = std::getenv("VARPRO_INSTRUCTION_SET");
    if (!wanted || !*wanted) return all.back();
    std::string names;
    for (const Variant& one : all) {
        if (one.name == wanted) return one;
        names += (names.empty() ? "" : ", ") + one.name;
    }
    throw py::import_error(std::string("VARPRO_INSTRUCTION_SET=") + wanted + ": this build on this processor has " +
                           names + "; unset it to take the last");
}

Variant variant;

WindowCall window_call(const py::array& x, const Dense<std::int32_t>& windows, const Dense<std::int64_t>& offsets) {
    const Pixel pixel = x.itemsize() == 1 ? Pixel::u8 : x.itemsize() == 4 ? Pixel::f32 : Pixel::f64;
    return {x.data(),   pixel,      windows.data(), offsets.data(),  x.shape(0),
            x.shape(1), x.shape(2), x.shape(3),     windows.shape(0)};
}

template <typename T>
void forward(void (*kernel)(const WindowCall&, const T*, T*), const py::array& x, const Dense<std::int32_t>& windows,
             const Dense<std::int64_t>& offsets, const Dense<T>& in, Dense<T>& out) {
    const WindowCall call = window_call(x, windows, offsets);
    const T* from = in.data();
    T* to = out.mutable_data();
    py::gil_scoped_release free;
    kernel(call, from, to);
}

template <typename T>
void pack(const T* x, double* out, double scale, py::ssize_t n, py::ssize_t side) {
    for (py::ssize_t image = 0; image < n; ++image, x += side * side)
        for (py::ssize_t k = 0; k < side; ++k) {
            *out++ = scale * x[k * side + k];
            for (py::ssize_t l = k + 1; l < side; ++l)
                *out++ = scale * (double(x[k * side + l]) + double(x[l * side + k]));
        }
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
    m.doc() = "Compiled CPU kernels of varpro; contracts in csrc/kernels.";
    load_blas();
    const std::vector<Variant> all = variants();
    variant = choose(all);
    weigh_variant = variant.weigh;
    py::tuple names(all.size());
    for (std::size_t k = 0; k < all.size(); ++k) names[k] = all[k].name;
    m.attr("instruction_sets") = names;
    m.attr("instruction_set") = variant.name;

    m.def("quadratic",
          [](const Dense<double>& s, const Dense<double>& w, Dense<double>& phi, py::object d, bool logistic) {
              QuadraticCall call{};
              py::array held;
              if (!d.is_none()) held = d.cast<py::array>();
              const py::ssize_t batches = s.shape(0), n = s.shape(1), rows = w.shape(1), units = w.shape(2);
              double* phi_data = phi.mutable_data();
              char* d_data = d.is_none() ? nullptr : static_cast<char*>(held.mutable_data());
              const std::int64_t item = d.is_none() ? 8 : held.itemsize();
              py::gil_scoped_release free;
              for (py::ssize_t b = 0; b < batches; ++b) {
                  call = {s.data() + b * n * s.shape(2) * s.shape(3) * s.shape(3),
                          w.data() + b * rows * units,
                          phi_data + b * n * (units + 1),
                          d_data ? d_data + b * n * rows * units * item : nullptr,
                          item == 4,
                          n,
                          s.shape(2),
                          s.shape(3),
                          units,
                          logistic};
                  variant.quadratic(call);
              }
          });
    m.def("bilinear",
          [](const Dense<double>& x, const Dense<double>& w, Dense<double>& phi, py::object d, bool logistic) {
              py::array held;
              if (!d.is_none()) held = d.cast<py::array>();
              const py::ssize_t batches = x.shape(0), n = x.shape(1), rows = w.shape(1), units = w.shape(2);
              double* phi_data = phi.mutable_data();
              char* d_data = d.is_none() ? nullptr : static_cast<char*>(held.mutable_data());
              const std::int64_t item = d.is_none() ? 8 : held.itemsize();
              py::gil_scoped_release free;
              for (py::ssize_t b = 0; b < batches; ++b) {
                  const BilinearCall call{x.data() + b * n * x.shape(2) * x.shape(3),
                                          w.data() + b * rows * units,
                                          phi_data + b * n * (units + 1),
                                          d_data ? d_data + b * n * rows * units * item : nullptr,
                                          item == 4,
                                          n,
                                          x.shape(2),
                                          x.shape(3),
                                          units,
                                          logistic};
                  variant.bilinear(call);
              }
          });
    m.def("activate_double", [](Dense<double>& q, const Dense<double>& bias, bool logistic) {
        double* data = q.mutable_data();
        py::gil_scoped_release free;
        variant.activate_double(data, bias.data(), q.shape(0), bias.shape(0), q.shape(1), logistic);
    });
    m.def("activate_float", [](Dense<float>& q, const Dense<float>& bias, bool logistic) {
        float* data = q.mutable_data();
        py::gil_scoped_release free;
        variant.activate_float(data, bias.data(), q.shape(0), bias.shape(0), q.shape(1), logistic);
    });
    m.def("window_forward_float",
          [](const py::array& x, const Dense<std::int32_t>& w, const Dense<std::int64_t>& o, const Dense<float>& in,
             Dense<float>& out) { forward(variant.forward_float, x, w, o, in, out); });
    m.def("window_forward_double",
          [](const py::array& x, const Dense<std::int32_t>& w, const Dense<std::int64_t>& o, const Dense<double>& in,
             Dense<double>& out) { forward(variant.forward_double, x, w, o, in, out); });
    m.def("window_adjoint_float",
          [](const py::array& x, const Dense<std::int32_t>& w, const Dense<std::int64_t>& o, const Dense<float>& in,
             Dense<float>& out) { forward(variant.adjoint_float, x, w, o, in, out); });
    m.def("window_adjoint_double",
          [](const py::array& x, const Dense<std::int32_t>& w, const Dense<std::int64_t>& o, const Dense<double>& in,
             Dense<double>& out) { forward(variant.adjoint_double, x, w, o, in, out); });
    m.def("window_jacobian",
          [](const py::array& x, const Dense<std::int32_t>& w, const Dense<std::int64_t>& o, const Dense<double>& u,
             const Dense<double>& v, const Dense<double>& slope, py::array d) {
              const WindowCall call = window_call(x, w, o);
              void* out = d.mutable_data();
              const bool narrow = d.itemsize() == 4;
              py::gil_scoped_release free;
              variant.jacobian(call, u.data(), v.data(), slope.data(), out, narrow);
          });
    m.def("symmetric_pack", [](const py::array& x, Dense<double>& out) {
        double* to = out.mutable_data();
        const py::ssize_t n = x.shape(0), side = x.shape(1), item = x.itemsize();
        const void* from = x.data();
        py::gil_scoped_release free;
        if (item == 1)
            pack(static_cast<const std::uint8_t*>(from), to, 1.0 / 255.0, n, side);
        else if (item == 4)
            pack(static_cast<const float*>(from), to, 1.0, n, side);
        else
            pack(static_cast<const double*>(from), to, 1.0, n, side);
    });
    m.def("normal_matrix", [](const py::array& d, const Dense<double>& z, const Dense<double>& aat, py::object inverse,
                              const Dense<double>& g, const Dense<std::int32_t>& columns, Dense<double>& h) {
        const double* gi = inverse.is_none() ? nullptr : inverse.cast<Dense<double>>().data();
        const py::ssize_t batches = d.shape(0), n = d.shape(1), mm = d.shape(2), r = z.shape(1), i = aat.shape(1),
                          k = g.shape(2);
        const char* d_data = static_cast<const char*>(d.data());
        const py::ssize_t item = d.itemsize();
        double* out = h.mutable_data();
        py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            normal_matrix({d_data + b * n * mm * item, item == 4, z.data() + b * r * mm, aat.data() + b * i * i,
                           gi ? gi + b * i * i : nullptr, g.data() + b * mm * k, columns.data(), out + b * mm * mm, n,
                           mm, r, i, k});
    });
    m.def("damped_solve", [](const Dense<double>& h, const Dense<double>& diagonal, const Dense<double>& lambda,
                             const Dense<double>& rhs, Dense<double>& step, Dense<std::int64_t>& info, bool single) {
        const py::ssize_t batches = h.shape(0), p = h.shape(1);
        double* out = step.mutable_data();
        std::int64_t* codes = info.mutable_data();
        py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            codes[b] = damped_solve(h.data() + b * p * p, diagonal.data() + b * p, lambda.data()[b], rhs.data() + b * p,
                                    out + b * p, p, single);
    });
    m.def("accumulate_gram",
          [](const Dense<double>& phi, const Dense<double>& y, Dense<double>& gram, Dense<double>& cross) {
              double *g = gram.mutable_data(), *c = cross.mutable_data();
              py::gil_scoped_release free;
              accumulate_gram(phi.data(), y.data(), g, c, phi.shape(0), phi.shape(1), y.shape(1));
          });
    m.def("few_rows", [](const Dense<double>& left, const Dense<double>& right, Dense<double>& out) {
        double* to = out.mutable_data();
        py::gil_scoped_release free;
        variant.few_rows(left.data(), right.data(), to, left.shape(0), left.shape(1), right.shape(1));
    });
    m.def("cholesky_qr2", [](const Dense<double>& phi, double ridge, Dense<double>& q, Dense<double>& r,
                             Dense<double>& inverse, Dense<double>& condition, Dense<std::int64_t>& info) {
        const py::ssize_t batches = phi.shape(0), n = phi.shape(1), i = phi.shape(2);
        double *q_data = q.mutable_data(), *r_data = r.mutable_data();
        double *inverse_data = inverse.mutable_data(), *kappa = condition.mutable_data();
        std::int64_t* codes = info.mutable_data();
        py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            codes[b] = cholesky_qr2(phi.data() + b * n * i, ridge, q_data + b * n * i, r_data + b * i * i,
                                    inverse_data + b * i * i, kappa + b, n, i);
    });
    bind_search(m);
    bind_small_fits(m, variant.name);
    bind_losses(m, variant.name);
}
