// The kernels of varpro.losses in varpro._cpu.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "../kernels/class_moments.hpp"
#include "../kernels/inward_scale.hpp"
#include "../kernels/softmax_divergence.hpp"

namespace py = pybind11;
using namespace varpro;

template <typename T>
using Dense = py::array_t<T, py::array::c_style>;

namespace {

struct Variant {
    decltype(&baseline::class_moments) class_moments = baseline::class_moments;
    decltype(&baseline::inward_scale) inward_scale = baseline::inward_scale;
    decltype(&baseline::softmax_divergence) softmax_divergence = baseline::softmax_divergence;
};
Variant variant;

const void* read_from(const py::object& array) { return array.is_none() ? nullptr : array.cast<py::array>().data(); }

double* numbers_of(const py::object& array) {
    return array.is_none() ? nullptr : array.cast<Dense<double>>().mutable_data();
}

void bind_class_moments(py::module_& m) {
    m.def("class_moments", [](const py::array& f, const Dense<std::int64_t>& position, Dense<std::int64_t>& counts,
                              Dense<double>& means, Dense<double>& within, const py::object& h) {
        const py::ssize_t batches = f.shape(0), n = f.shape(1), d = f.shape(2), classes = counts.shape(1);
        const char* from = static_cast<const char*>(f.data());
        const py::ssize_t item = f.itemsize();
        std::int64_t* count = counts.mutable_data();
        double *mean = means.mutable_data(), *square = within.mutable_data(), *centred = numbers_of(h);
        const py::gil_scoped_release free;
        for (py::ssize_t b = 0; b < batches; ++b)
            variant.class_moments({from + b * n * d * item, item == 4, position.data() + b * n, count + b * classes,
                                   mean + b * classes * d, square + b * classes,
                                   centred ? centred + b * n * d : nullptr, n, d, classes});
    });
}

void bind_inward_scale(py::module_& m) {
    m.def("inward_scale", [](const py::array& x, const py::object& g, double xi, double eps, py::array& out,
                             Dense<double>& s, const py::object& along) {
        const InwardScaleCall call{x.data(),
                                   read_from(g),
                                   out.mutable_data(),
                                   s.mutable_data(),
                                   numbers_of(along),
                                   x.itemsize() == 4,
                                   x.shape(0),
                                   x.shape(1),
                                   xi,
                                   eps};
        const py::gil_scoped_release free;
        variant.inward_scale(call);
    });
}

void bind_softmax_divergence(py::module_& m) {
    m.def("softmax_divergence",
          [](const py::array& f, const Dense<std::int64_t>& position, const py::object& weights, const py::object& best,
             Dense<double>& value, py::array& by_f, const py::object& by_weights, double tau, double scale, int kind) {
              const py::ssize_t batches = f.shape(0), n = f.shape(1), width = f.shape(2), classes = value.shape(1);
              const py::ssize_t item = f.itemsize(), all = n * width * item;
              const char* from = static_cast<const char*>(f.data());
              char* to = static_cast<char*>(by_f.mutable_data());
              const double* w = static_cast<const double*>(read_from(weights));
              double *found = numbers_of(best), *sums = value.mutable_data(), *slope = numbers_of(by_weights);
              const py::gil_scoped_release free;
              for (py::ssize_t b = 0; b < batches; ++b) {
                  const py::ssize_t at = b * classes * width;
                  variant.softmax_divergence({from + b * all, item == 4, position.data() + b * n, w ? w + at : nullptr,
                                              found ? found + at : nullptr, sums + b * classes, to + b * all,
                                              slope ? slope + at : nullptr, n, width, classes, tau, scale,
                                              static_cast<Divergence>(kind)});
              }
          });
}

}  // namespace

void bind_losses(py::module_& m, const std::string& instruction_set) {
#ifdef VARPRO_X86_VARIANTS
    if (instruction_set == "avx512")
        variant = {avx512::class_moments, avx512::inward_scale, avx512::softmax_divergence};
    if (instruction_set == "avx2") variant = {avx2::class_moments, avx2::inward_scale, avx2::softmax_divergence};
#endif
    static_cast<void>(instruction_set);
    bind_class_moments(m);
    bind_inward_scale(m);
    bind_softmax_divergence(m);
}
