/// What the parts of varpro._cuda share: the fields of a launch as keywords, the error of a launch, the device of a
/// call.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

#include "../../kernels/scalarize.hpp"

namespace py = pybind11;

/// Pointers come as integers; 0 is a null pointer.
template <typename T = void>
T* at(std::uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

/// uint8, float32 or float64.
varpro::Pixel pixel_of(const std::string& name);

[[noreturn]] void raise_backend_error(const std::string& message);

/// launch() on the device, which is the current one meanwhile.  Raises varpro.errors.BackendError if there is no such
/// device or the launch is refused.
void enqueue_on(const std::string& kernel, int device, const std::function<void()>& launch);

/// The keywords of a call.  Each is taken once, by name; a TypeError names one that is missing, or any left over.
class Keywords {
  public:
    explicit Keywords(const py::kwargs& given) : given_(given) {}

    template <typename T>
    T take(const char* name) {
        if (!given_.contains(name)) throw py::type_error(std::string("keyword ") + name + " is missing");
        ++taken_;
        return given_[name].cast<T>();
    }

    /// Into a field of a launch: an address, a number, or a flag.
    template <typename T>
    Keywords& operator()(const char* name, T& field) {
        if constexpr (std::is_pointer_v<T>)
            field = at<std::remove_pointer_t<T>>(take<std::uintptr_t>(name));
        else
            field = take<T>(name);
        return *this;
    }

    void done() const {
        if (taken_ != given_.size())
            throw py::type_error(std::to_string(given_.size()) + " keywords are given; there are " +
                                 std::to_string(taken_));
    }

  private:
    py::kwargs given_;
    std::size_t taken_ = 0;
};

/// m.kernel(*, ..., device, stream): `fill` takes the fields of the call from the keywords.
template <typename Call, typename Fill>
void bind_launch(py::module_& m, const char* kernel, void (*launch)(const Call&, varpro::cuda::Stream), Fill fill) {
    m.def(kernel, [=](const py::kwargs& given) {
        Keywords keywords(given);
        Call call{};
        fill(keywords, call);
        const int device = keywords.take<int>("device");
        const auto stream = keywords.take<std::uintptr_t>("stream");
        keywords.done();
        enqueue_on(kernel, device, [&] { launch(call, at(stream)); });
    });
}

/// m.name(*, ...): the bytes of the workspace; `sizes` takes the keywords that they depend on.
template <typename Call, typename Sizes>
void bind_workspace(py::module_& m, const char* name, std::int64_t (*workspace)(const Call&), Sizes sizes) {
    m.def(name, [=](const py::kwargs& given) {
        Keywords keywords(given);
        Call call{};
        sizes(keywords, call);
        keywords.done();
        try {
            return workspace(call);
        } catch (const varpro::cuda::LaunchError& error) {
            raise_backend_error(error.what());
        }
    });
}

void bind_class_moments(py::module_& m);
void bind_convolve(py::module_& m);
void bind_gauss_newton(py::module_& m);
void bind_inward_scale(py::module_& m);
void bind_jacobian_products(py::module_& m);
void bind_projector(py::module_& m);
void bind_scalarize(py::module_& m);
void bind_small_fits(py::module_& m);
void bind_softmax_divergence(py::module_& m);
