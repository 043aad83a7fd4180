/// Class sums of a batch of features: the first pass of every discriminant objective.
///
/// All arrays are C-contiguous and do not alias.  Sums run over the samples of a class in their order, so that a class
/// depends on its own samples alone; nothing here knows of threads.
#pragma once

#include <cstdint>

namespace varpro {

/// One batch: n_c, mu_c = (1 / n_c) sum f_j, h_j = f_j - mu_y and w_c = sum ||h_j||^2 over the samples of class c.
/// f (n, d) double or float; position (n), the class of each sample in 0 .. classes - 1.  counts (classes), means
/// (classes, d), within (classes): zeros for a class without samples; h (n, d), or null.  All but f double.
/// within[c] is not finite where a feature of the class is not, and where the squares overflow.
/// f comes from memory once: its rows are taken class by class, in strips that stay in the cache until they are
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

#define VARPRO_DECLARE_CLASS_MOMENTS(isa)             \
    namespace isa {                                   \
    void class_moments(const ClassMomentsCall& call); \
    }

VARPRO_DECLARE_CLASS_MOMENTS(baseline)
VARPRO_DECLARE_CLASS_MOMENTS(avx2)
VARPRO_DECLARE_CLASS_MOMENTS(avx512)

}  // namespace varpro
