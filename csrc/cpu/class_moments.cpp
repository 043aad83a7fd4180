// Class by class, in strips of columns: a strip is summed, then centred while it is still in the second-level cache.
#include "../kernels/class_moments.hpp"

#include <algorithm>

#include "aligned.hpp"
#include "rows.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr std::int64_t kCacheBytes = 128 * 1024;  // of features; as much h, or twice as much, is written meanwhile
constexpr std::int64_t kNarrowest = 512;          // columns: with fewer, starting a row costs more than rereading it

/// h = f - mean for one row, if there is an h; returns ||f - mean||^2.
template <bool kKeep, typename T>
double centre(const T* __restrict f, const double* __restrict mean, std::int64_t width, double* __restrict h) {
    V even{}, odd{};
    std::int64_t j = 0;
    for (; j + 2 * kWidth <= width; j += 2 * kWidth) {
        const V a = load_wide(f + j) - load(mean + j), b = load_wide(f + j + kWidth) - load(mean + j + kWidth);
        if (kKeep) {
            store(h + j, a);
            store(h + j + kWidth, b);
        }
        even += a * a;
        odd += b * b;
    }
    double square = sum(even + odd);
    for (; j < width; ++j) {
        const double away = double(f[j]) - mean[j];
        if (kKeep) h[j] = away;
        square += away * away;
    }
    return square;
}

template <typename T>
void moments_of(const ClassMomentsCall& call, const T* f) {
    const ByClass by_class(call.position, call.n, call.classes);
    Aligned<double> mean(call.d);
    for (std::int64_t c = 0; c < call.classes; ++c) {
        const std::int64_t* const samples = by_class.samples(c);
        const std::int64_t count = by_class.count(c), bytes = count * static_cast<std::int64_t>(sizeof(T));
        const std::int64_t fitting = count > 0 ? kCacheBytes / bytes / kNarrowest * kNarrowest : call.d;
        const std::int64_t strip = std::max(fitting, kNarrowest);
        std::fill(mean.begin(), mean.end(), 0.0);
        double within = 0.0;
        for (std::int64_t begin = 0; begin < call.d && count > 0; begin += strip) {
            const std::int64_t width = std::min(strip, call.d - begin);
            double* const part = mean.data() + begin;
            add_rows(f + begin, call.d, samples, count, width, part);
            for (std::int64_t j = 0; j < width; ++j) part[j] /= static_cast<double>(count);
            for (std::int64_t k = 0; k < count; ++k) {
                const std::int64_t at = samples[k] * call.d + begin;
                within += call.h ? centre<true>(f + at, part, width, call.h + at)
                                 : centre<false>(f + at, part, width, static_cast<double*>(nullptr));
            }
        }
        call.counts[c] = count;
        call.within[c] = within;
        std::copy_n(mean.data(), call.d, call.means + c * call.d);
    }
}

}  // namespace

void class_moments(const ClassMomentsCall& call) {
    if (call.f_is_float)
        moments_of(call, static_cast<const float*>(call.f));
    else
        moments_of(call, static_cast<const double*>(call.f));
}

}  // namespace varpro::VARPRO_ISA
