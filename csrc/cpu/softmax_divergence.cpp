// One class at a time: its weights and the sums for their gradient stay in the first-level cache, as do the
// exponentials of the current row.  One exponential per entry and no logarithm: log p is the exponent less the
// logarithm of the sum.
#include "../kernels/softmax_divergence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "aligned.hpp"
#include "rows.hpp"

namespace varpro::VARPRO_ISA {
namespace {

constexpr double kLowest = -708.0;  // below this, exp would be subnormal and counts as zero
constexpr std::int64_t kStep = 2 * kWidth;

/// A distribution in scratch, padded with zeros to whole steps, so that entries past the end add nothing.
struct Distribution {
    double* probability;
    double* exponent;  // (f - max f) / tau
    double log_total;  // log p = exponent - log_total
};

template <typename T>
double largest(const T* f, std::int64_t count) {
    V most = V{} - std::numeric_limits<double>::infinity();
    std::int64_t j = 0;
    for (; j + kWidth <= count; j += kWidth) {
        const V v = load_wide(f + j);
        most = v > most ? v : most;
    }
    double result = -std::numeric_limits<double>::infinity();
    for (int lane = 0; lane < kWidth; ++lane) result = std::max(result, most[lane]);
    for (; j < count; ++j) result = std::max(result, double(f[j]));
    return result;
}

/// p = softmax(f / tau); NaN throughout where an entry is NaN or +infinity.
template <typename T>
void softmax(const T* f, std::int64_t m, double per_tau, Distribution& out) {
    const double most = largest(f, m);
    double* __restrict z = out.exponent;
    double* __restrict p = out.probability;
    for (std::int64_t j = 0; j < m; ++j) z[j] = (double(f[j]) - most) * per_tau;
    const V lowest = V{} + kLowest;
    in_vectors(z, m, p, [=](V x) { return x < lowest ? V{} : exp_lane(x); });
    V even{}, odd{};
    for (std::int64_t j = 0; j < m; j += kStep) {
        even += load(p + j);
        odd += load(p + j + kWidth);
    }
    const double total = sum(even + odd), inverse = 1.0 / total;
    for (std::int64_t j = 0; j < m; ++j) p[j] *= inverse;
    out.log_total = std::log(total);
}

template <typename T>
struct Work {
    const DivergenceCall& call;
    const T* f;
    T* by_f;
    ByClass by_class;
    std::int64_t padded;
    Aligned<double> scratch;
    Distribution p, q;
    double *log_q, *weighted, *total, *log_total;  // of the class; p (log p - log q); sums of p and of log p

    explicit Work(const DivergenceCall& c)
        : call(c),
          f(static_cast<const T*>(c.f)),
          by_f(static_cast<T*>(c.by_f)),
          by_class(c.position, c.n, c.classes),
          padded((c.m + kStep - 1) / kStep * kStep),
          scratch(8 * padded, 0.0) {
        double* at = scratch.data();
        for (double** part :
             {&p.probability, &p.exponent, &q.probability, &q.exponent, &log_q, &weighted, &total, &log_total}) {
            *part = at;
            at += padded;
        }
    }

    void clear_sums() {
        std::fill_n(total, padded, 0.0);
        std::fill_n(log_total, padded, 0.0);
    }

    void add_probabilities() {
        for (std::int64_t j = 0; j < call.m; ++j) total[j] += p.probability[j];
    }

    void add_logarithms() {
        for (std::int64_t j = 0; j < call.m; ++j) log_total[j] += p.exponent[j] - p.log_total;
    }
};

/// tau log of the mean p, or tau times the mean log p, which also stands in where the mean p is zero.
template <typename T>
void best_weights(Work<T>& w, std::int64_t c, double* weights) {
    const std::int64_t count = w.by_class.count(c);
    const double share = 1.0 / static_cast<double>(count);
    w.clear_sums();
    for (std::int64_t k = 0; k < count; ++k) {
        softmax(w.f + w.by_class.samples(c)[k] * w.call.m, w.call.m, 1.0 / w.call.tau, w.p);
        if (w.call.kind == Divergence::pq) w.add_probabilities();
        w.add_logarithms();
    }
    for (std::int64_t j = 0; j < w.call.m; ++j) {
        const double mean = w.total[j] * share;
        weights[j] = w.call.tau * (mean > 0.0 ? std::log(mean) : w.log_total[j] * share);
    }
}

/// KL(p || q), and the row's gradient.
template <typename T>
double row_pq(Work<T>& w, double by_row, T* __restrict out) {
    const V shift = V{} + w.p.log_total;
    V even{}, odd{};
    for (std::int64_t j = 0; j < w.padded; j += kStep) {
        const V a = load(w.p.probability + j) * (load(w.p.exponent + j) - shift - load(w.log_q + j));
        const V b =
            load(w.p.probability + j + kWidth) * (load(w.p.exponent + j + kWidth) - shift - load(w.log_q + j + kWidth));
        store(w.weighted + j, a);
        store(w.weighted + j + kWidth, b);
        even += a;
        odd += b;
    }
    const double value = sum(even + odd);
    for (std::int64_t j = 0; j < w.call.m; ++j)
        out[j] = static_cast<T>(by_row * (w.weighted[j] - value * w.p.probability[j]));
    w.add_probabilities();
    return value;
}

/// KL(q || p), and the row's gradient.
template <typename T>
double row_qp(Work<T>& w, double by_row, T* __restrict out) {
    const V shift = V{} + w.p.log_total;
    V even{}, odd{};
    for (std::int64_t j = 0; j < w.padded; j += kStep) {
        even += load(w.q.probability + j) * (load(w.log_q + j) - (load(w.p.exponent + j) - shift));
        odd += load(w.q.probability + j + kWidth) *
               (load(w.log_q + j + kWidth) - (load(w.p.exponent + j + kWidth) - shift));
    }
    for (std::int64_t j = 0; j < w.call.m; ++j)
        out[j] = static_cast<T>(by_row * (w.p.probability[j] - w.q.probability[j]));
    w.add_logarithms();
    return sum(even + odd);
}

template <typename T>
void divergence_of_class(Work<T>& w, std::int64_t c) {
    const DivergenceCall& call = w.call;
    const std::int64_t count = w.by_class.count(c);
    const double* const weights = (call.best ? call.best : call.weights) + c * call.m;
    const double by_row = call.scale / call.tau;
    if (call.best) best_weights(w, c, call.best + c * call.m);
    softmax(weights, call.m, 1.0 / call.tau, w.q);
    for (std::int64_t j = 0; j < call.m; ++j) w.log_q[j] = w.q.exponent[j] - w.q.log_total;
    w.clear_sums();
    double value = 0.0;
    for (std::int64_t k = 0; k < count; ++k) {
        const std::int64_t at = w.by_class.samples(c)[k] * call.m;
        softmax(w.f + at, call.m, 1.0 / call.tau, w.p);
        value += call.kind == Divergence::pq ? row_pq(w, by_row, w.by_f + at) : row_qp(w, by_row, w.by_f + at);
    }
    call.value[c] = value;
    if (!call.by_weights) return;
    double* const out = call.by_weights + c * call.m;
    const double n_c = static_cast<double>(count);
    for (std::int64_t j = 0; j < call.m; ++j)
        out[j] =
            by_row * (call.kind == Divergence::pq ? n_c * w.q.probability[j] - w.total[j]
                                                  : w.q.probability[j] * (n_c * w.log_q[j] - w.log_total[j] - value));
}

/// ||f - w||^2 of a row; its gradient, and the sum of f - w over the rows of the class.
template <typename T>
double row_squares(const T* f, const double* w, std::int64_t m, double by_row, T* out, double* total) {
    const V factor = V{} + by_row;
    V even{};
    std::int64_t j = 0;
    for (; j + kWidth <= m; j += kWidth) {
        const V away = load_wide(f + j) - load(w + j), slope = factor * away;
        for (int lane = 0; lane < kWidth; ++lane) out[j + lane] = static_cast<T>(slope[lane]);
        store(total + j, load(total + j) + away);
        even += away * away;
    }
    double square = sum(even);
    for (; j < m; ++j) {
        const double away = double(f[j]) - w[j];
        out[j] = static_cast<T>(by_row * away);
        total[j] += away;
        square += away * away;
    }
    return square;
}

template <typename T>
void squares_of_class(Work<T>& w, std::int64_t c) {
    const DivergenceCall& call = w.call;
    const std::int64_t count = w.by_class.count(c);
    const std::int64_t* const samples = w.by_class.samples(c);
    const double* const weights = (call.best ? call.best : call.weights) + c * call.m;
    w.clear_sums();
    if (call.best) {
        add_rows(w.f, call.m, samples, count, call.m, w.total);
        for (std::int64_t j = 0; j < call.m; ++j) call.best[c * call.m + j] = w.total[j] / static_cast<double>(count);
        w.clear_sums();
    }
    double value = 0.0;
    for (std::int64_t k = 0; k < count; ++k) {
        const std::int64_t at = samples[k] * call.m;
        value += row_squares(w.f + at, weights, call.m, 2.0 * call.scale, w.by_f + at, w.total);
    }
    call.value[c] = value;
    if (!call.by_weights) return;
    for (std::int64_t j = 0; j < call.m; ++j) call.by_weights[c * call.m + j] = -2.0 * call.scale * w.total[j];
}

template <typename T>
void divergence_with(const DivergenceCall& call) {
    Work<T> w(call);
    for (std::int64_t c = 0; c < call.classes; ++c) {
        if (w.by_class.count(c) == 0) {
            call.value[c] = 0.0;
            if (call.by_weights) std::fill_n(call.by_weights + c * call.m, call.m, 0.0);
        } else if (call.kind == Divergence::squares) {
            squares_of_class(w, c);
        } else {
            divergence_of_class(w, c);
        }
    }
}

}  // namespace

void softmax_divergence(const DivergenceCall& call) {
    if (call.f_is_float)
        divergence_with<float>(call);
    else
        divergence_with<double>(call);
}

}  // namespace varpro::VARPRO_ISA
