/// What the parts of varpro._cuda share: addresses as integers, the error of a launch, the device of a call.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <functional>
#include <string>

#include "../cuda/launch.hpp"

/// Pointers come as integers; 0 is a null pointer.
template <typename T = void>
T* at(std::uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

[[noreturn]] void raise_backend_error(const std::string& message);

/// launch(call, stream) on the device, which is the current one for so long.  Raises varpro.errors.BackendError where
/// there is no such device or the launch is refused.
void enqueue_on(const char* kernel, int device, const std::function<void()>& launch);

template <typename Call>
void enqueue(const char* kernel, void (*launch)(const Call&, varpro::cuda::Stream), const Call& call, int device,
             std::uintptr_t stream) {
    enqueue_on(kernel, device, [&] { launch(call, at(stream)); });
}

void bind_losses(pybind11::module_& m);
void bind_units(pybind11::module_& m);
void bind_projector(pybind11::module_& m);
void bind_small_fits(pybind11::module_& m);
