// A row is read from memory once, and from the first-level cache the second and third time.
#include "../kernels/inward_scale.hpp"

#include <cmath>

#include "rows.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// sum_j (factor a[j]) b[j]: factor times a is a unit vector, so the sum does not overflow where a . b would.
template <typename T>
double scaled_dot(double factor, const T* a, const T* b, std::int64_t count) {
    const V wide = V{} + factor;
    V part[4] = {};
    std::int64_t j = 0;
    for (; j + 4 * kWidth <= count; j += 4 * kWidth)
        for (int k = 0; k < 4; ++k) part[k] += wide * load_wide(a + j + k * kWidth) * load_wide(b + j + k * kWidth);
    double total = sum((part[0] + part[1]) + (part[2] + part[3]));
    for (; j < count; ++j) total += factor * double(a[j]) * double(b[j]);
    return total;
}

template <typename T>
void scale_rows(const InwardScaleCall& call, const T* x, T* out) {
    for (std::int64_t i = 0; i < call.n; ++i, x += call.d, out += call.d) {
        const double s = std::sqrt(scaled_dot(1.0, x, x, call.d) + call.eps), factor = 1.0 / (call.xi * s);
        call.s[i] = s;
        for (std::int64_t j = 0; j < call.d; ++j) out[j] = static_cast<T>(double(x[j]) * factor);
    }
}

template <typename T>
void gradients(const InwardScaleCall& call, const T* x, const T* g, T* out) {
    for (std::int64_t i = 0; i < call.n; ++i, x += call.d, g += call.d, out += call.d) {
        const double s = std::sqrt(scaled_dot(1.0, x, x, call.d) + call.eps), unit = 1.0 / s;
        const double along = scaled_dot(unit, x, g, call.d), factor = 1.0 / (call.xi * s);
        call.s[i] = s;
        call.along[i] = along;
        for (std::int64_t j = 0; j < call.d; ++j)
            out[j] = static_cast<T>((double(g[j]) - double(x[j]) * unit * along) * factor);
    }
}

template <typename T>
void with_type(const InwardScaleCall& call) {
    const T* const x = static_cast<const T*>(call.x);
    T* const out = static_cast<T*>(call.out);
    if (call.g)
        gradients(call, x, static_cast<const T*>(call.g), out);
    else
        scale_rows(call, x, out);
}

}  // namespace

void inward_scale(const InwardScaleCall& call) {
    if (call.is_float)
        with_type<float>(call);
    else
        with_type<double>(call);
}

}  // namespace varpro::VARPRO_ISA
