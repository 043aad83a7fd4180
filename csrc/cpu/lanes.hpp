/// Portable vectors and the sigmoids on them.  Included by translation units that are compiled once per instruction
/// set (VARPRO_ISA names the namespace, VARPRO_LANE_BYTES the size of a vector); never with -ffast-math, which breaks
/// the round-to-integer trick below.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace varpro::VARPRO_ISA {

/// As many numbers of type T as a register of the variant holds.
template <typename T, int bytes = VARPRO_LANE_BYTES>
struct LanesOf {
    typedef T type __attribute__((vector_size(bytes)));
    static constexpr int count = bytes / sizeof(T);
};
template <typename T, int bytes = VARPRO_LANE_BYTES>
using Lanes = typename LanesOf<T, bytes>::type;
static_assert(VARPRO_LANE_BYTES == 16 || VARPRO_LANE_BYTES == 32 || VARPRO_LANE_BYTES == 64);

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

/// Adds the lower half of v to the upper one until 16 bytes are left: a tree of additions.
template <typename T, int bytes = VARPRO_LANE_BYTES>
inline Lanes<T, 16> folded(Lanes<T, bytes> v) {
    if constexpr (bytes == 16) {
        return v;
    } else {
        constexpr int half = LanesOf<T, bytes>::count / 2;
        return [&]<int... k>(std::integer_sequence<int, k...>) {  // no detour through memory, as with memcpy
            return folded<T, bytes / 2>(__builtin_shufflevector(v, v, k...) +
                                        __builtin_shufflevector(v, v, half + k...));
        }(std::make_integer_sequence<int, half>{});
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

/// The element type of a number or a vector, and the integers of the same size.
template <typename Value, bool number = std::is_arithmetic_v<Value>>
struct Parts {
    using T = Value;
    using Bits = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
};
template <typename Value>
struct Parts<Value, false> {
    using T = std::remove_cvref_t<decltype(std::declval<Value&>()[0])>;
    using Bits = Lanes<typename Parts<T>::Bits, sizeof(Value)>;
};

/// c[0] + c[1] x + ...: even and odd powers side by side, a chain of operations half as long as Horner's rule.
template <typename Value, typename T, int count>
inline Value polynomial(const T (&c)[count], Value x, Value square) {
    static_assert(count % 2 == 0);
    Value even = Value{} + c[count - 2], odd = Value{} + c[count - 1];
    for (int k = count - 4; k >= 0; k -= 2) {
        even = even * square + c[k];
        odd = odd * square + c[k + 1];
    }
    return odd * x + even;
}

/// e^x = scale (1 + rest), branch-free, of a number or a vector: x = k ln 2 + r, |r| <= ln 2 / 2, rest = r + r^2 p(r),
/// and the exponent put into the bits of scale.  |x| must stay below 708 (double) or 87 (float); NaN stays NaN.
///   p  (e^r - 1 - r) / r^2 interpolated at the ten Chebyshev points of |r| <= 1.001 ln 2 / 2: within 2e-17 of e^r in
///      double; its Taylor polynomial in float.
template <typename Value>
struct Exponential {
    Value scale, rest;
};
template <typename Value>
inline Exponential<Value> exponential_bounded(Value x) {
    using T = typename Parts<Value>::T;
    using Bits = typename Parts<Value>::Bits;
    constexpr bool wide = sizeof(T) == 8;
    constexpr int mantissa = std::numeric_limits<T>::digits - 1;
    constexpr T magic = wide ? T(6755399441055744.0) : T(12582912.0);  // 1.5 * 2^mantissa: adding it rounds to integer
    constexpr T log2e = T(1.4426950408889634074);
    constexpr T ln2_high = wide ? T(6.93147180369123816490e-01) : T(6.9314575195e-01);
    constexpr T ln2_low = wide ? T(1.90821492927058770002e-10) : T(1.4286067653e-06);
    const Value shifted = x * log2e + magic;
    const Value k = shifted - magic;
    const Value r = (x - k * ln2_high) - k * ln2_low;
    const Value square = r * r;
    Value p;
    if constexpr (wide) {
        constexpr double c[] = {0.5000000000000001,     0.16666666666666669,    0.041666666666623824,
                                0.008333333333330039,   0.0013888888917367081,  0.00019841269863171557,
                                2.4801521057868204e-05, 2.7557268276905696e-06, 2.7620201591031547e-07,
                                2.5100472505694996e-08};
        p = polynomial(c, r, square);
    } else {
        constexpr float c[] = {0.5f, 1.0f / 6.0f, 1.0f / 24.0f, 1.0f / 120.0f, 1.0f / 720.0f, 1.0f / 5040.0f};
        p = polynomial(c, r, square);
    }
    // k is in the lowest bits of shifted; the shift drops those above
    Bits bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << mantissa) + (typename Parts<T>::Bits(std::numeric_limits<T>::max_exponent - 1) << mantissa);
    Value scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return {scale, p * square + r};
}

/// e^x - 1 to a few eps.
template <typename Value>
inline Value expm1_bounded(Value x) {
    const Exponential<Value> e = exponential_bounded(x);
    return e.scale * e.rest + (e.scale - typename Parts<Value>::T(1));
}

/// x within limits; NaN stays NaN.
template <typename Value>
inline Value clamp(Value x, typename Parts<Value>::T limit) {
    const Value high = Value{} + limit, low = -high;
    x = x < low ? low : x;
    return x > high ? high : x;
}

/// e^x to 1.2 units in the last place; flat beyond 708 (double) or 87 (float), where it would over- or underflow.
template <typename Value>
inline Value exp_lane(Value x) {
    using T = typename Parts<Value>::T;
    const Exponential<Value> e = exponential_bounded(clamp(x, sizeof(T) == 8 ? T(708) : T(87)));
    return e.scale + e.scale * e.rest;
}

/// tanh x = (e^2x - 1) / (e^2x + 1), flat beyond the point where it rounds to one.
template <typename Value>
inline Value tanh_lane(Value x) {
    using T = typename Parts<Value>::T;
    const Value e = expm1_bounded(clamp(x + x, sizeof(T) == 8 ? T(40) : T(20)));
    return e / (e + T(2));
}

template <typename Value>
inline Value logistic_lane(Value x) {
    using T = typename Parts<Value>::T;
    return T(1) / (T(2) + expm1_bounded(clamp(-x, sizeof(T) == 8 ? T(700) : T(80))));
}

/// to[k] = function(from[k]), where the function takes vectors; `to` may be `from`.  Nothing past `count` is touched.
template <typename T, typename Function>
inline void in_vectors(const T* from, std::int64_t count, T* to, Function function) {
    constexpr std::int64_t width = LanesOf<T>::count;
    std::int64_t k = 0;
    for (; k + width <= count; k += width) store(to + k, function(load(from + k)));
    if (k == count) return;
    const std::size_t bytes = static_cast<std::size_t>(count - k) * sizeof(T);
    Lanes<T> last{};
    std::memcpy(&last, from + k, bytes);
    last = function(last);
    std::memcpy(to + k, &last, bytes);
}

/// sigma(q) in place; tanh or logistic.
template <typename T>
inline void activate_row(T* q, std::int64_t count, bool logistic) {
    if (logistic)
        in_vectors(q, count, q, [](Lanes<T> x) { return logistic_lane(x); });
    else
        in_vectors(q, count, q, [](Lanes<T> x) { return tanh_lane(x); });
}

template <typename T>
inline T slope_of(T phi, bool logistic) {
    return logistic ? phi * (T(1) - phi) : T(1) - phi * phi;
}

}  // namespace varpro::VARPRO_ISA
