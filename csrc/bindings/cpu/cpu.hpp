/// What the parts of varpro._cpu share.  A binding takes NumPy arrays that the Python entry has checked and hands their
/// addresses to the kernel, problem after problem, with the interpreter's lock released.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>

#include "../../cpu/instruction_set.hpp"

namespace py = pybind11;

template <typename T>
using Dense = py::array_t<T, py::array::c_style>;
using Doubles = Dense<double>;

/// None becomes a null pointer.
inline const double* optional(const py::object& array) {
    return array.is_none() ? nullptr : array.cast<Doubles>().data();
}
inline double* optional_out(const py::object& array) {
    return array.is_none() ? nullptr : array.cast<Doubles>().mutable_data();
}

/// An array of float or double, one problem after another; null for None.
template <typename Void, typename Byte>
struct Either {
    Byte* first = nullptr;
    py::ssize_t item = 8;

    bool is_float() const { return item == 4; }
    /// `count` numbers on from the beginning.
    Void* after(py::ssize_t count) const { return first ? first + count * item : nullptr; }
};
inline Either<const void, const char> either(const py::object& array) {
    if (array.is_none()) return {};
    const auto held = array.cast<py::array>();
    return {static_cast<const char*>(held.data()), held.itemsize()};
}
inline Either<void, char> either_out(const py::object& array) {
    if (array.is_none()) return {};
    auto held = array.cast<py::array>();
    return {static_cast<char*>(held.mutable_data()), held.itemsize()};
}

void bind_class_moments(py::module_& m);
void bind_convolve(py::module_& m);
void bind_few_rows(py::module_& m);
void bind_gauss_newton(py::module_& m);
void bind_gram(py::module_& m);
void bind_inward_scale(py::module_& m);
void bind_projector(py::module_& m);
void bind_scalarize(py::module_& m);
void bind_search(py::module_& m);
void bind_small_fits(py::module_& m);
void bind_softmax_divergence(py::module_& m);
