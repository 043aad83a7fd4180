// Prints the largest error of exp_lane over its whole range, in units of the last place, and whether its limits hold.
#include <algorithm>
#include <cstdio>

#include "../../csrc/cpu/lanes.hpp"

using namespace varpro::VARPRO_ISA;

namespace {

template <typename T>
double units_off(T found, T x) {
    const long double exact = expl(static_cast<long double>(x));
    int exponent;
    frexpl(exact, &exponent);
    return static_cast<double>(fabsl((found - exact) / ldexpl(1.0L, exponent - std::numeric_limits<T>::digits)));
}

template <typename T>
double worst(T limit) {
    constexpr int count = 64 * LanesOf<T>::count;
    double most = 0.0;
    for (const T range : {T(1e-30), T(1e-5), T(0.3), T(0.7), T(3), T(40), limit})
        for (int block = 0; block < 300; ++block) {
            T x[count], found[count];
            for (int k = 0; k < count; ++k)  // fractions of multiples of the golden section fill an interval evenly
                x[k] = static_cast<T>(range * (2.0 * std::fmod((block * count + k) * 0.6180339887498949, 1.0) - 1.0));
            in_vectors(x, count, found, [](Lanes<T> v) { return exp_lane(v); });
            for (int k = 0; k < count; ++k)
                most = std::max({most, units_off(found[k], x[k]), units_off(exp_lane(x[k]), x[k])});
        }
    return most;
}

template <typename T>
bool limits_hold(T limit) {
    const T infinite = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    const T x[] = {infinite, -infinite, 2 * limit, T(0), nan};
    T found[5];
    in_vectors(x, 5, found, [](Lanes<T> v) { return exp_lane(v); });
    return found[0] == exp_lane(limit) && found[1] == exp_lane(-limit) && found[2] == found[0] && found[3] == T(1) &&
           std::isnan(found[4]) && std::isfinite(found[0]) && std::isnormal(found[1]);
}

}  // namespace

int main() { std::printf("%.3f %.3f %d\n", worst(708.0), worst(87.0f), limits_hold(708.0) && limits_hold(87.0f)); }
