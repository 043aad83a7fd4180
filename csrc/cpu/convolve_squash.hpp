/// The squashing functions of convolutional units on vectors, each with its derivative.
#pragma once

#include <cmath>
#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "../kernels/convolve.hpp"
#include "lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// log(1 + e) for e in [0, 1]: 2 artanh(e / (2 + e)), whose argument is at most 1/3.
template <typename Value>
Value log1p_lane(Value e) {
    using T = typename Parts<Value>::T;
    const Value z = e / (e + T(2)), square = z * z;
    constexpr int terms = sizeof(T) == 8 ? 17 : 8;
    Value sum = Value{} + T(1) / T(2 * terms - 1);
    for (int k = terms - 2; k >= 0; --k) sum = sum * square + T(1) / T(2 * k + 1);
    return T(2) * z * sum;
}

/// 1 / sqrt(x), x > 0.  In float from the processor's estimate of 12 bits or more and one Newton step, to 2 units in
/// the last place: a division and a root would take as long as the convolution of a small patch.
inline Lanes<double> reciprocal_root(Lanes<double> x) {
    Lanes<double> out;
    for (int k = 0; k < LanesOf<double>::count; ++k) out[k] = 1.0 / std::sqrt(x[k]);
    return out;
}
inline Lanes<float> estimated_reciprocal_root(Lanes<float> x) {
#if defined(__AVX512F__) && VARPRO_LANE_BYTES == 64
    return (Lanes<float>)_mm512_maskz_rsqrt14_ps(0xffff, (__m512)x);
#elif defined(__AVX__) && VARPRO_LANE_BYTES == 32
    return (Lanes<float>)_mm256_rsqrt_ps((__m256)x);
#elif defined(__SSE__) && VARPRO_LANE_BYTES == 16
    return (Lanes<float>)_mm_rsqrt_ps((__m128)x);
#else
    Lanes<float> guess;
    for (int k = 0; k < LanesOf<float>::count; ++k) guess[k] = 1.0f / std::sqrt(x[k]);
    return guess;
#endif
}
inline Lanes<float> reciprocal_root(Lanes<float> x) {
    const Lanes<float> guess = estimated_reciprocal_root(x);
    return guess * (1.5f - 0.5f * x * guess * guess);
}

/// 2 sqrt(x): the same step, in half the operations.
inline Lanes<double> twice_root(Lanes<double> x) {
    for (int k = 0; k < LanesOf<double>::count; ++k) x[k] = 2.0 * std::sqrt(x[k]);
    return x;
}
inline Lanes<float> twice_root(Lanes<float> x) {
    const Lanes<float> guess = estimated_reciprocal_root(x), root = x * guess;
    return root * (3.0f - root * guess);
}

/// Where the value alone is wanted: value(x) in units of `unit`.
template <typename Squash, typename T>
struct ValueOnly {
    static constexpr T unit = 1;
    Lanes<T> value(Lanes<T> x) const {
        Lanes<T> slope;
        return static_cast<const Squash&>(*this)(x, slope);
    }
};
template <typename T>
struct TanhSquash : ValueOnly<TanhSquash<T>, T> {
    Lanes<T> operator()(Lanes<T> x, Lanes<T>& d) const {
        const Lanes<T> value = tanh_lane(x);
        d = T(1) - value * value;
        return value;
    }
};
template <typename T>
struct LogisticSquash : ValueOnly<LogisticSquash<T>, T> {
    Lanes<T> operator()(Lanes<T> x, Lanes<T>& d) const {
        const Lanes<T> value = logistic_lane(x);
        d = value * (T(1) - value);
        return value;
    }
};
template <typename T>
struct SmoothAbsSquash {
    T smoothing;
    static constexpr T unit = T(0.5);
    Lanes<T> value(Lanes<T> x) const { return twice_root(x * x + smoothing); }
    Lanes<T> operator()(Lanes<T> x, Lanes<T>& d) const {
        const Lanes<T> square = x * x + smoothing, reciprocal = reciprocal_root(square);
        d = x * reciprocal;
        return square * reciprocal;
    }
};
template <typename T>
struct SquareSquash : ValueOnly<SquareSquash<T>, T> {
    Lanes<T> operator()(Lanes<T> x, Lanes<T>& d) const {
        d = x + x;
        return x * x;
    }
};
template <typename T>
struct SoftplusSquash : ValueOnly<SoftplusSquash<T>, T> {
    Lanes<T> operator()(Lanes<T> x, Lanes<T>& d) const {
        const Lanes<T> size = x < T(0) ? -x : x;
        d = logistic_lane(x);
        return (x + size) * T(0.5) + log1p_lane<Lanes<T>>(exp_lane<Lanes<T>>(-size));
    }
};

/// Calls run(sigma): sigma(x, d) returns the value at x and sets d to the derivative.  The kind is decided outside the
/// loops.
template <typename T, typename Run>
void with_squash(const ConvolveCall& call, Run&& run) {
    switch (call.squash) {
        case Squash::tanh:
            return run(TanhSquash<T>{});
        case Squash::logistic:
            return run(LogisticSquash<T>{});
        case Squash::smooth_abs:
            return run(SmoothAbsSquash<T>{static_cast<T>(call.smoothing)});
        case Squash::square:
            return run(SquareSquash<T>{});
        case Squash::softplus:
            return run(SoftplusSquash<T>{});
    }
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
