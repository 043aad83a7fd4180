/// Portable vectors and the sigmoids on them.  Included by translation units that are compiled once per instruction
/// set (VARPRO_ISA names the namespace, VARPRO_LANE_BYTES the size of a vector); never with -ffast-math, which breaks
/// the round-to-integer trick below.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace varpro::VARPRO_ISA {

/// Bytes of T: a register of the widest variant, pairs of registers on a smaller machine.
template <typename T, int bytes = VARPRO_LANE_BYTES>
struct LanesOf {
    typedef T type __attribute__((vector_size(bytes)));
    static constexpr int count = bytes / sizeof(T);
};
template <typename T, int bytes = VARPRO_LANE_BYTES>
using Lanes = typename LanesOf<T, bytes>::type;
static_assert(VARPRO_LANE_BYTES == 32 || VARPRO_LANE_BYTES == 64, "the sums below halve a vector down to 16 bytes");

template <typename T>
inline Lanes<T> load(const T* from) {
    Lanes<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <typename T>
inline void store(T* to, Lanes<T> v) {
    std::memcpy(to, &v, sizeof v);
}

/// The lower half of v added to its upper half, until 16 bytes are left: a tree, as deep as the logarithm of the lanes.
template <typename T, int bytes = VARPRO_LANE_BYTES>
inline Lanes<T, 16> folded(const Lanes<T, bytes>& v) {
    if constexpr (bytes == 16) {
        return v;
    } else {
        Lanes<T, bytes / 2> low, high;
        std::memcpy(&low, &v, sizeof low);
        std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
        return folded<T, bytes / 2>(low + high);
    }
}
inline double sum(Lanes<double> v) {
    const Lanes<double, 16> half = folded<double>(v);
    return half[0] + half[1];
}
inline float sum(Lanes<float> v) {
    const Lanes<float, 16> half = folded<float>(v);
    return (half[0] + half[2]) + (half[1] + half[3]);
}

/// e^x = scale (1 + rest), branch-free: x = k ln 2 + r, |r| <= ln 2 / 2, a Taylor polynomial in r, and the exponent put
/// into the bits of scale.  |x| must stay below 708 (double) or 87 (float); NaN stays NaN.
template <typename T>
struct Exponential {
    T scale, rest;
};
template <typename T>
inline Exponential<T> exponential_bounded(T x) {
    constexpr bool wide = std::is_same_v<T, double>;
    using Bits = std::conditional_t<wide, std::int64_t, std::int32_t>;
    constexpr int mantissa = std::numeric_limits<T>::digits - 1;
    constexpr T magic = wide ? T(6755399441055744.0) : T(12582912.0);  // 1.5 * 2^mantissa: adding it rounds to integer
    constexpr T log2e = T(1.4426950408889634074);
    constexpr T ln2_high = wide ? T(6.93147180369123816490e-01) : T(6.9314575195e-01);
    constexpr T ln2_low = wide ? T(1.90821492927058770002e-10) : T(1.4286067653e-06);
    const T shifted = x * log2e + magic;
    const T k = shifted - magic;
    const T r = (x - k * ln2_high) - k * ln2_low;
    T p;
    if constexpr (wide) {
        p = T(1.0 / 6227020800.0);
        p = p * r + T(1.0 / 479001600.0);
        p = p * r + T(1.0 / 39916800.0);
        p = p * r + T(1.0 / 3628800.0);
        p = p * r + T(1.0 / 362880.0);
        p = p * r + T(1.0 / 40320.0);
        p = p * r + T(1.0 / 5040.0);
    } else {
        p = T(1.0 / 5040.0);
    }
    p = p * r + T(1.0 / 720.0);
    p = p * r + T(1.0 / 120.0);
    p = p * r + T(1.0 / 24.0);
    p = p * r + T(1.0 / 6.0);
    p = p * r + T(0.5);
    p = p * r * r + r;
    Bits bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    Bits power =
        ((bits & ((Bits(1) << mantissa) - 1)) + std::numeric_limits<T>::max_exponent - 1 - (Bits(1) << (mantissa - 1)))
        << mantissa;
    T scale;
    std::memcpy(&scale, &power, sizeof scale);
    return {scale, p};
}

/// e^x - 1 to a few eps.
template <typename T>
inline T expm1_bounded(T x) {
    const Exponential<T> e = exponential_bounded(x);
    return e.scale * e.rest + (e.scale - T(1));
}

template <typename T>
inline T clamp(T x, T limit) {
    x = x < -limit ? -limit : x;
    return x > limit ? limit : x;
}

/// e^x to a few eps; flat beyond 708 (double) or 87 (float), where it would over- or underflow.
template <typename T>
inline T exp_lane(T x) {
    const Exponential<T> e = exponential_bounded(clamp(x, std::is_same_v<T, double> ? T(708) : T(87)));
    return e.scale + e.scale * e.rest;
}

/// tanh x = (e^2x - 1) / (e^2x + 1), flat beyond the point where it rounds to one.
template <typename T>
inline T tanh_lane(T x) {
    const T e = expm1_bounded(clamp(x + x, std::is_same_v<T, double> ? T(40) : T(20)));
    return e / (e + T(2));
}

template <typename T>
inline T logistic_lane(T x) {
    return T(1) / (T(2) + expm1_bounded(clamp(-x, std::is_same_v<T, double> ? T(700) : T(80))));
}

/// sigma(q) in place; tanh or logistic.
template <typename T>
inline void activate_row(T* q, std::int64_t count, bool logistic) {
    if (logistic)
        for (std::int64_t i = 0; i < count; ++i) q[i] = logistic_lane(q[i]);
    else
        for (std::int64_t i = 0; i < count; ++i) q[i] = tanh_lane(q[i]);
}

template <typename T>
inline T slope_of(T phi, bool logistic) {
    return logistic ? phi * (T(1) - phi) : T(1) - phi * phi;
}

}  // namespace varpro::VARPRO_ISA
