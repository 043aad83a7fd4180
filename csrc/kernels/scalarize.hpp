/// Scalarization: an image becomes one number a unit, then a sigmoid; values and derivatives in one pass.
///
/// All arrays are C-contiguous and do not alias.  Nothing here knows of threads: a caller may split the images, and the
/// result of an image depends on that image alone.
#pragma once

#include <cstdint>

namespace varpro {

/// Pixels as they lie in memory; bytes are read as value / 255.
enum class Pixel { u8, f32, f64 };

/// Quadratic units on one batch element.
///   q[n, i] = 1/2 sum_l w[l, i] Z[n, l, i] + b[i],   Z[n, l, i] = sum_c g[c, i] sum_k s[n, c, l, k] w[k, i]
/// s (n, planes, side, side) symmetric in its last two axes; w (rows, units): side rows of w, then `planes` rows of g
/// if planes > 1, then b.  phi (n, units + 1) = [sigma(q) | 1].  d (n, rows * units), column q * units + i, or null.
/// Reads 8 n planes side^2 bytes, writes (units + 1) 8 n + sizeof(D) n rows units; 2 n planes side^2 units operations.
struct QuadraticCall {
    const double* s;
    const double* w;
    double* phi;
    void* d;
    bool d_is_float;
    std::int64_t n, planes, side, units;
    bool logistic;
};

/// Bilinear units: q = u^T X v + b.  x (n, height, width); w (height + width + 1, units): rows of u, v, b.
/// Twice the arithmetic of the value: X v and X^T u are both needed for d.
struct BilinearCall {
    const double* x;
    const double* w;
    double* phi;
    void* d;
    bool d_is_float;
    std::int64_t n, height, width, units;
    bool logistic;
};

/// Units on windows.  x (n, planes, height, width) of `pixel`; windows (units, 4): top, left, height, width; matrices
/// ragged, unit after unit, each (planes, h, w); offsets (units + 1) into them.
///   forward: q[n, i] = <x[n] on window i, matrix i>     adjoint: matrix i = sum_n b[n, i] x[n] on window i
/// 2 n (entries of the matrices) operations each; the images are read once, 32 at a time.
struct WindowCall {
    const void* x;
    Pixel pixel;
    const std::int32_t* windows;
    const std::int64_t* offsets;
    std::int64_t n, planes, height, width, units;
};

#define VARPRO_DECLARE_SCALARIZE(isa)                                                                            \
    namespace isa {                                                                                              \
    void quadratic(const QuadraticCall& call);                                                                   \
    void bilinear(const BilinearCall& call);                                                                     \
    void activate(double* q, const double* bias, std::int64_t n, std::int64_t units, std::int64_t stride,        \
                  bool logistic);                                                                                \
    void activate(float* q, const float* bias, std::int64_t n, std::int64_t units, std::int64_t stride,          \
                  bool logistic);                                                                                \
    void window_forward(const WindowCall& call, const float* matrices, float* q);                                \
    void window_forward(const WindowCall& call, const double* matrices, double* q);                              \
    void window_adjoint(const WindowCall& call, const float* b, float* matrices);                                \
    void window_adjoint(const WindowCall& call, const double* b, double* matrices);                              \
    void window_jacobian(const WindowCall& call, const double* u, const double* v, const double* slope, void* d, \
                         bool d_is_float);                                                                       \
    }

VARPRO_DECLARE_SCALARIZE(baseline)
VARPRO_DECLARE_SCALARIZE(avx2)
VARPRO_DECLARE_SCALARIZE(avx512)

}  // namespace varpro
