// The divergences in four launches: the normaliser of each row, the same for the weights, values and gradients of the
// rows with a warp each, and the gradient of the weights with a block for 32 columns of a class.  If the weights are
// eliminated, such blocks compute them after the first launch.
//
// p is recomputed in each launch from two numbers per row: an exponential costs less than writing and reading p.
#include "../kernels/softmax_divergence.hpp"
#include "rows.cuh"

namespace varpro::cuda {
namespace {

/// log p = (f - most) / tau - log_total
struct Normaliser {
    double most, log_total;
};

struct Workspace {
    Normaliser *of_rows, *of_weights;  // (problems, n), (problems, classes)
    double* row_value;                 // (problems, n)
};

std::int64_t workspace_numbers(const DivergenceLaunch& call) { return call.problems * (3 * call.n + 2 * call.classes); }

Workspace workspace_of(const DivergenceLaunch& call) {
    auto* const rows = static_cast<Normaliser*>(call.workspace);
    Normaliser* const weights = rows + call.problems * call.n;
    return {rows, weights, reinterpret_cast<double*>(weights + call.problems * call.classes)};
}

/// One warp per row; NaN where an entry is NaN or +infinity.
template <typename T>
__global__ void __launch_bounds__(kWarp* kWarps)
    normalise_kernel(const T* rows, std::int64_t count, std::int64_t m, double per_tau, Normaliser* out) {
    const std::int64_t row = warp_number();
    if (row >= count) return;
    const int lane = threadIdx.x % kWarp;
    const T* const f = rows + row * m;
    double most = -HUGE_VAL;
    for (std::int64_t j = lane; j < m; j += kWarp) most = fmax(most, static_cast<double>(__ldg(f + j)));
    most = warp_max(most);
    double total = 0;
    for (std::int64_t j = lane; j < m; j += kWarp) total += exp((static_cast<double>(__ldg(f + j)) - most) * per_tau);
    total = warp_sum(total);
    if (lane == 0) out[row] = {most, log(total)};
}

__device__ __forceinline__ double log_of(double f, const Normaliser& by, double per_tau) {
    return (f - by.most) * per_tau - by.log_total;
}

/// What an entry adds to the value of its row.
template <Divergence kKind>
__device__ __forceinline__ double term_of(double log_p, double log_q) {
    return kKind == Divergence::pq ? exp(log_p) * (log_p - log_q) : exp(log_q) * (log_q - log_p);
}

template <Divergence kKind, typename T>
__global__ void __launch_bounds__(kWarp* kWarps) rows_kernel(DivergenceLaunch call, Workspace work) {
    const std::int64_t row = warp_number();
    if (row >= call.problems * call.n) return;
    const int lane = threadIdx.x % kWarp;
    const std::int64_t of_class = row / call.n * call.classes + __ldg(call.position + row);
    const T* const f = static_cast<const T*>(call.f) + row * call.m;
    const double* const w = (call.best ? call.best : call.weights) + of_class * call.m;
    T* const out = static_cast<T*>(call.by_f) + row * call.m;
    double value = 0;
    if (kKind == Divergence::squares) {
        for (std::int64_t j = lane; j < call.m; j += kWarp) {
            const double away = static_cast<double>(__ldg(f + j)) - w[j];
            out[j] = static_cast<T>(2.0 * call.scale * away);
            value += away * away;
        }
        value = warp_sum(value);
    } else {
        const double per_tau = 1.0 / call.tau, by_row = call.scale * per_tau;
        const Normaliser p = work.of_rows[row], q = work.of_weights[of_class];
        for (std::int64_t j = lane; j < call.m; j += kWarp)
            value += term_of<kKind>(log_of(__ldg(f + j), p, per_tau), log_of(w[j], q, per_tau));
        value = warp_sum(value);
        for (std::int64_t j = lane; j < call.m; j += kWarp) {
            const double log_p = log_of(__ldg(f + j), p, per_tau), log_q = log_of(w[j], q, per_tau);
            const double slope =
                kKind == Divergence::pq ? exp(log_p) * (log_p - log_q - value) : exp(log_p) - exp(log_q);
            out[j] = static_cast<T>(by_row * slope);
        }
    }
    if (lane == 0) work.row_value[row] = value;
}

/// The value of a class: a warp adds those of its rows.
__global__ void __launch_bounds__(kWarp* kWarps) values_kernel(DivergenceLaunch call, Workspace work) {
    const std::int64_t which = warp_number();
    if (which >= call.problems * call.classes) return;
    const std::int64_t problem = which / call.classes;
    const std::int32_t* const first = call.first + which + problem;
    double sum = 0;
    for (int k = __ldg(first) + static_cast<int>(threadIdx.x % kWarp); k < __ldg(first + 1); k += kWarp)
        sum += work.row_value[problem * call.n + __ldg(call.order + problem * call.n + k)];
    sum = warp_sum(sum);
    if (threadIdx.x % kWarp == 0) call.value[which] = sum;
}

/// The gradient of a class's weights, which needs its value; with kBest instead the weights that make it zero.
template <Divergence kKind, typename T, bool kBest>
__global__ void __launch_bounds__(kWarp* kWarps) weights_kernel(DivergenceLaunch call, Workspace work) {
    __shared__ double parts[kWarps][kWarp];
    constexpr bool kSumP = kKind == Divergence::pq, kSumLog = kBest || !kSumP;
    const Tile at = tile_of(call.first, call.classes, call.m);
    const std::int64_t which = at.problem * call.classes + at.c, place = which * call.m + at.column;
    const std::int32_t* const order = call.order + at.problem * call.n;
    const T* const f = static_cast<const T*>(call.f) + at.problem * call.n * call.m + at.column;
    double* const out = kBest ? call.best : call.by_weights;
    const double per_tau = 1.0 / call.tau, n_c = at.end - at.begin;
    const double w = !kBest && at.inside ? __ldg(call.weights + place) : 0.0;

    double of_p = 0, of_log = 0;  // of_log: of f - w for squares
    if (at.inside)
        for (int k = at.begin + static_cast<int>(threadIdx.y); k < at.end; k += kWarps) {
            const std::int64_t sample = __ldg(order + k);
            const double entry = static_cast<double>(__ldg(f + sample * call.m));
            if (kKind == Divergence::squares) {
                of_log += entry - w;
                continue;
            }
            const double log_p = log_of(entry, work.of_rows[at.problem * call.n + sample], per_tau);
            if (kSumLog) of_log += log_p;
            if (kSumP) of_p += exp(log_p);
        }
    double log_sum = 0, p_sum = 0;
    if (kSumLog) log_sum = column_sum(parts, of_log);
    if (kSumLog && kSumP) __syncthreads();  // the parts of the first sum have been used
    if (kSumP) p_sum = column_sum(parts, of_p);
    if (!at.inside || threadIdx.y > 0) return;
    if (at.end == at.begin) {
        out[place] = 0;
    } else if (kBest) {
        const double mean = p_sum / n_c, log_mean = log_sum / n_c;
        out[place] = kKind == Divergence::squares ? log_mean : call.tau * (mean > 0.0 ? log(mean) : log_mean);
    } else if (kKind == Divergence::squares) {
        out[place] = -2.0 * call.scale * log_sum;
    } else {
        const double log_q = log_of(w, work.of_weights[which], per_tau), q = exp(log_q);
        const double slope =
            kKind == Divergence::pq ? n_c * q - p_sum : q * (n_c * log_q - log_sum - call.value[which]);
        out[place] = call.scale * per_tau * slope;
    }
}

template <typename T>
void normalise(const T* rows, std::int64_t count, const DivergenceLaunch& call, Normaliser* out, Stream stream) {
    auto* const kernel = normalise_kernel<T>;
    VARPRO_LAUNCH(kernel, grid_of_warps(count), dim3(kWarp * kWarps), 0, stream, rows, count, call.m, 1.0 / call.tau,
                  out);
    check_launch("softmax_divergence");
}

template <Divergence kKind, typename T>
void launch_divergence(const DivergenceLaunch& call, Stream stream) {
    const Workspace work = workspace_of(call);
    const std::int64_t rows = call.problems * call.n, classes = call.problems * call.classes;
    const dim3 tiles = grid_of_tiles(call.problems, call.classes, call.m), tile(kWarp, kWarps), warps(kWarp * kWarps);
    constexpr bool kLogarithms = kKind != Divergence::squares;
    if (kLogarithms) normalise(static_cast<const T*>(call.f), rows, call, work.of_rows, stream);
    if (call.best) {
        auto* const best = weights_kernel<kKind, T, true>;
        VARPRO_LAUNCH(best, tiles, tile, 0, stream, call, work);
        check_launch("softmax_divergence");
    }
    const double* const weights = call.best ? call.best : call.weights;
    if (kLogarithms) normalise(weights, classes, call, work.of_weights, stream);
    auto* const of_rows = rows_kernel<kKind, T>;
    VARPRO_LAUNCH(of_rows, grid_of_warps(rows), warps, 0, stream, call, work);
    check_launch("softmax_divergence");
    VARPRO_LAUNCH(values_kernel, grid_of_warps(classes), warps, 0, stream, call, work);
    check_launch("softmax_divergence");
    if (!call.by_weights) return;
    auto* const slopes = weights_kernel<kKind, T, false>;
    VARPRO_LAUNCH(slopes, tiles, tile, 0, stream, call, work);
    check_launch("softmax_divergence");
}

template <typename T>
void launch_divergence(const DivergenceLaunch& call, Stream stream) {
    if (call.kind == Divergence::pq)
        launch_divergence<Divergence::pq, T>(call, stream);
    else if (call.kind == Divergence::qp)
        launch_divergence<Divergence::qp, T>(call, stream);
    else
        launch_divergence<Divergence::squares, T>(call, stream);
}

}  // namespace

std::int64_t softmax_divergence_workspace(const DivergenceLaunch& call) {
    return workspace_numbers(call) * std::int64_t{sizeof(double)};
}

void softmax_divergence(const DivergenceLaunch& call, Stream stream) {
    if (call.problems == 0 || call.n == 0 || call.m == 0 || call.classes == 0) return;
    if (!call.workspace)
        throw LaunchError("softmax_divergence: workspace is null; these sizes need " +
                          std::to_string(softmax_divergence_workspace(call)) + " bytes");
    if (!call.best == !call.weights || (call.best && call.by_weights))
        throw LaunchError("softmax_divergence: give weights, or best to have them found, and by_weights with weights");
    if (call.f_is_float)
        launch_divergence<float>(call, stream);
    else
        launch_divergence<double>(call, stream);
}

}  // namespace varpro::cuda
