/// Scalarization: each unit turns an image into one number, then a sigmoid; values and derivatives in one pass.
///
/// All arrays are C-contiguous and do not alias.  Nothing here knows of threads: a caller may split the images, and the
/// result of an image depends on that image alone.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "variants.hpp"

namespace varpro {

/// The type of pixels in memory; bytes are read as value / 255.
enum class Pixel { u8, f32, f64 };

/// Units on images that problems share.
///   quadratic   q[n, i] = 1/2 sum_l w[l, i] Z[n, l, i] + b[i],   Z[n, l, i] = sum_c g[c, i] sum_k S_c[l, k] w[k, i],
///               S_c = X_c + X_c^T, formed on the way in; height = width
///   bilinear    q = u^T X v + b; planes are stacked in the rows of X: planes = 1
/// images (any rows, planes, height, width) of `pixel`.  index (problems, n), rows of images, or null: problem after
/// problem.  w (problems, rows, units): quadratic has `height` rows of w, then `planes` rows of g if planes > 1, then
/// b; bilinear has `height` rows of u, `width` of v, then b.  phi (problems, n, units + 1) = [sigma(q) | 1].
/// d (problems, n, rows * units), column row * units + i, or null.  w and phi double and d double or float, or, on a
/// device, all three float.
/// symmetric: the caller promises X_c = X_c^T; a CPU then does not form the sum, which saves a fifth of its time.
/// Moves planes height width sizeof(pixel) + (units + 1) sizeof(phi) + rows units sizeof(d) bytes per image, with 2
/// planes height width units operations; bilinear needs twice as many for d, which consists of X v and X^T u.
///
/// On a device only: gram (problems, units + 1, units + 1) double, the lower triangle of Phi^T Phi, or null: summed in
/// double along with Phi if a block has all units and up to 384 threads (28 x 28 pixels: 54 units), else from Phi in
/// memory.  With gram, workspace has scalarize_workspace(call) bytes, null where that is 0, for the parts of 16 to 128
/// images, which are added in order.  Sides may be up to 1024, and there may be as many quadratic planes as shared
/// memory holds sums for (25 at side 64).
struct ScalarizeCall {
    const void* images;
    Pixel pixel;
    const std::int32_t* index;
    const void* w;
    void* phi;
    void* d;
    std::int64_t problems, n, planes, height, width, units;
    bool w_is_float, d_is_float, logistic, symmetric;
    double* gram;
    void* workspace;
};

/// Images packed for values alone: q of quadratic units without its bias is out[n] . pack(w), pack(w) = w_k w_l for
/// k <= l (times g_c, plane after plane), a matrix product; then activate.
/// out (problems n, planes side (side + 1) / 2) double or float: X_kk, and X_kl + X_lk for k < l, row after row.
/// images (any rows, planes, side, side), pixel and index as above; planes <= 128 on a device.
/// Moves planes (side^2 sizeof(pixel) + side (side + 1) / 2 sizeof(out)) bytes per image.
struct PackCall {
    const void* images;
    Pixel pixel;
    const std::int32_t* index;
    void* out;
    std::int64_t problems, n, planes, side;
    bool out_is_float;
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

// clang-format off
VARPRO_VARIANTS(
    void quadratic(const ScalarizeCall& call);
    void bilinear(const ScalarizeCall& call);
    void pack(const PackCall& call);
    void activate(double* q, const double* bias, std::int64_t n, std::int64_t units, std::int64_t stride,
                  bool logistic);
    void activate(float* q, const float* bias, std::int64_t n, std::int64_t units, std::int64_t stride,
                  bool logistic);
    void window_forward(const WindowCall& call, const float* matrices, float* q);
    void window_forward(const WindowCall& call, const double* matrices, double* q);
    void window_adjoint(const WindowCall& call, const float* b, float* matrices);
    void window_adjoint(const WindowCall& call, const double* b, double* matrices);
    void window_jacobian(const WindowCall& call, const double* u, const double* v, const double* slope, void* d,
                         bool d_is_float);
)
// clang-format on

namespace cuda {

std::int64_t scalarize_workspace(const ScalarizeCall& call);
void quadratic(const ScalarizeCall& call, Stream stream);
void bilinear(const ScalarizeCall& call, Stream stream);
void pack(const PackCall& call, Stream stream);

/// In place: phi (problems, n, units + 1) holds q without its bias in all columns but the last, whose content does not
/// matter, and becomes [sigma(q + bias) | 1]; bias (problems, units).  Both double or both float.  Moves 2 (units + 1)
/// sizeof(phi) bytes per row.
struct ActivateLaunch {
    void* phi;
    const void* bias;
    std::int64_t problems, n, units;
    bool is_float, logistic;
};
void activate(const ActivateLaunch& call, Stream stream);

}  // namespace cuda
}  // namespace varpro
