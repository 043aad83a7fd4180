/// Divergence of the rows of a class from the row of weights of that class, with both gradients.
///
/// All arrays are C-contiguous and do not alias.  Sums over the samples of a class run in their order; nothing here
/// knows of threads.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "variants.hpp"

namespace varpro {

/// With p = softmax(f / tau) of a sample and q = softmax(w / tau) of its class:
///   pq       KL(p || q) = sum p (log p - log q)     its gradient for f: p (log p - log q - KL) / tau, for w: (q - p) /
///   tau qp       KL(q || p) = sum q (log q - log p)                         (p - q) / tau,  q (log q - log p - KL) /
///   tau squares  ||f - w||^2                                                2 (f - w),      -2 (f - w)
enum class Divergence { pq, qp, squares };

/// One batch.  f (n, m) double or float; position (n), the class of each sample in 0 .. classes - 1; weights
/// (classes, m), or null, in which case `best` (classes, m) is written: the weights that minimise the sum, that is tau
/// log of the mean p, tau times the mean log p, or the mean.  value (classes), sums over the samples; by_f (n, m) in
/// f's precision and by_weights (classes, m): `scale` times the gradients of the sum over all samples.  by_weights is
/// null if the weights are eliminated: it would be zero.  A class without samples has value and gradient 0, and no
/// weights.  value[c] is not finite where a feature of the class or its weights are not.  All arithmetic in double.
/// Reads and writes sizeof(f) n m bytes; n m exponentials, twice that to eliminate.
struct DivergenceCall {
    const void* f;
    bool f_is_float;
    const std::int64_t* position;
    const double* weights;
    double* best;
    double* value;
    void* by_f;
    double* by_weights;
    std::int64_t n, m, classes;
    double tau, scale;
    Divergence kind;
};

// clang-format off
VARPRO_VARIANTS(
    void softmax_divergence(const DivergenceCall& call);
)
// clang-format on

namespace cuda {

/// As varpro::DivergenceCall; order, first from class_order; best is zero for a class without samples.  workspace:
/// softmax_divergence_workspace(call) bytes.  Reads f at most five times, mostly from the cache, and writes by_f.
struct DivergenceLaunch {
    const void* f;
    const std::int32_t* position;
    const std::int32_t* order;
    const std::int32_t* first;
    const double* weights;
    double* best;
    double* value;
    void* by_f;
    double* by_weights;
    void* workspace;
    std::int64_t problems, n, m, classes;
    Divergence kind;
    bool f_is_float;
    double tau, scale;
};
std::int64_t softmax_divergence_workspace(const DivergenceLaunch& call);
void softmax_divergence(const DivergenceLaunch& call, Stream stream);

}  // namespace cuda
}  // namespace varpro
