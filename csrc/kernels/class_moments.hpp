/// Class sums of a batch of features: the first pass of every discriminant objective.
///
/// All arrays are C-contiguous and do not alias.  Sums run over the samples of a class in their order, so that a class
/// depends on its own samples alone; nothing here knows of threads.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "variants.hpp"

namespace varpro {

/// One batch: n_c, mu_c = (1 / n_c) sum f_j, h_j = f_j - mu_y and w_c = sum ||h_j||^2 over the samples of class c.
/// f (n, d) double or float; position (n), the class of each sample in 0 .. classes - 1.  counts (classes), means
/// (classes, d), within (classes): zeros for a class without samples; h (n, d), or null.  All but f double.
/// within[c] is not finite where a feature of the class is not, and where the squares overflow.
/// f is read from memory once: its rows are taken class by class, in strips that stay in the cache until they are
/// centred.  Reads sizeof(f) n d bytes, writes 8 n d + 8 classes d.
struct ClassMomentsCall {
    const void* f;
    bool f_is_float;
    const std::int64_t* position;
    std::int64_t* counts;
    double* means;
    double* within;
    double* h;
    std::int64_t n, d, classes;
};

// clang-format off
VARPRO_VARIANTS(
    void class_moments(const ClassMomentsCall& call);
)
// clang-format on

namespace cuda {

/// The samples of each class in their order.  position (problems, n), the class of each sample in 0 .. classes - 1;
/// class c has order[first[c]] .. order[first[c + 1] - 1], order (problems, n), first (problems, classes + 1).
/// Reads the labels twice for each class.
struct ClassOrderLaunch {
    const std::int32_t* position;
    std::int32_t* order;
    std::int32_t* first;
    std::int64_t problems, n, classes;
};
void class_order(const ClassOrderLaunch& call, Stream stream);

/// Class means, centred features and squares, as varpro::ClassMomentsCall without the counts, which are differences of
/// `first`.  f (problems, n, d) double or float; order, first from class_order; means (problems, classes, d), within
/// (problems, classes), h (problems, n, d) or null, all double and all arithmetic; workspace:
/// class_moments_workspace(call) bytes.  Reads f twice, the second time from the cache where a class fits, and writes
/// h: n d (2 sizeof(f) + 8) bytes.
struct ClassMomentsLaunch {
    const void* f;
    const std::int32_t* order;
    const std::int32_t* first;
    double* means;
    double* within;
    double* h;
    void* workspace;
    std::int64_t problems, n, d, classes;
    bool f_is_float;
};
std::int64_t class_moments_workspace(const ClassMomentsLaunch& call);
void class_moments(const ClassMomentsLaunch& call, Stream stream);

}  // namespace cuda
}  // namespace varpro
