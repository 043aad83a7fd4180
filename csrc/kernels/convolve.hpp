/// Convolutional units: one bilinear form at every place of an image, squashed, and averaged over a grid of cells.
///
///   q_f[s]          = sum_t u_ft^T X_t[s] v_ft + b_f       X_t[s]: the patch of plane t, or of the mix, at place s
///   phi[n, f, cell] = mean over the places s of a cell of sigma(q_f[s])
///
/// All arrays are C-contiguous and do not alias.  Nothing here knows of threads: a caller may split the images, and
/// the result of an image depends on that image alone; only `contract` sums over images, in their order.
///
/// The forms are separable: rows with v, then columns with u.  For P places, H image rows, C columns of places, patches
/// of h x w, T terms, the numbers of multiply-adds of one filter on one image are
///   values       T (H C w + P h)                       jacobian, contract   about 2.5 times that
/// far more than the (planes H W) pixels that are read for all filters: arithmetic is the limit.
#pragma once

#include <cstdint>

#include "launch.hpp"
#include "portable.hpp"
#include "scalarize.hpp"
#include "variants.hpp"

namespace varpro {

/// sigma.  smooth_abs is sqrt(q^2 + smoothing).
enum class Squash { tanh, logistic, smooth_abs, square, softplus };

/// w (rows, filters) of the call's type: for each term, patch_height rows of u and patch_width rows of v; `planes` rows
/// of the mix if mixed; a row of b.  A term reads the mix of all planes, or plane (term mod planes).  Places stand
/// every `stride` pixels of the image with a border of pad_rows and pad_columns zeros; their numbers, down and across,
/// are multiples of cells_down and cells_across.  Cells are counted row by row.
struct ConvolveCall {
    const void* x;
    Pixel pixel;
    std::int64_t n, planes, height, width;
    std::int64_t filters, patch_height, patch_width, terms;
    bool mixed;
    std::int64_t stride, pad_rows, pad_columns, cells_down, cells_across;
    Squash squash;
    double smoothing;

    std::int64_t rows() const { return terms * (patch_height + patch_width) + (mixed ? planes : 0) + 1; }
    VARPRO_PORTABLE std::int64_t cells() const { return cells_down * cells_across; }
};

/// values    phi (n, filters, cells)
/// jacobian  d (n, cells, rows, filters): the derivative of phi[n, f, cell] by w[row, f]
/// layer_jacobian  j (n, outputs, rows, filters): the derivative of sum over f and cells of phi[n, f, cell]
///           layer[f, cell, output] by w, which is d times the layer without ever holding d; the (rows, filters) of
///           the next output begin `apart` numbers further on, so that several banks share an array
/// tangent   slope (n, filters, cells): the derivative of phi along dw (rows, filters)
/// contract  gradient (rows, filters) += sum over n and cells of b[n, f, cell] d[n, cell, row, f]; b as phi.  Sums over
///           an image are of the call's type, those over images double.
// clang-format off
VARPRO_VARIANTS(
    void convolve_values(const ConvolveCall& call, const float* w, float* phi);
    void convolve_values(const ConvolveCall& call, const double* w, double* phi);
    void convolve_jacobian(const ConvolveCall& call, const float* w, float* d);
    void convolve_jacobian(const ConvolveCall& call, const double* w, double* d);
    void convolve_layer_jacobian(const ConvolveCall& call, const float* w, const float* layer, std::int64_t outputs,
                                 float* j, std::int64_t apart);
    void convolve_layer_jacobian(const ConvolveCall& call, const double* w, const double* layer, std::int64_t outputs,
                                 double* j, std::int64_t apart);
    void convolve_tangent(const ConvolveCall& call, const float* w, const float* dw, float* slope);
    void convolve_tangent(const ConvolveCall& call, const double* w, const double* dw, double* slope);
    void convolve_contract(const ConvolveCall& call, const float* w, const float* b, double* gradient);
    void convolve_contract(const ConvolveCall& call, const double* w, const double* b, double* gradient);
)
// clang-format on

namespace cuda {

/// The same for tables side by side, each with its own images: call.x (any rows, planes, height, width) is shared,
/// index (problems, n) tells the rows of each problem, or is null: problem after problem; call.n is per problem.
/// w and along (problems, rows, filters), along: dw for the tangent.  weights (problems, n, filters, cells): b for
/// the contraction.  out (problems, ...) as above, overwritten: phi, d and slope double or float as w, the gradient
/// double. The gradient is summed in double over images, and its workspace has convolve_workspace(launch) bytes, null
/// where that is 0, for parts of 64 images, which are added in order. LaunchError where patch_height rows of an image
/// and of what is made of it for four filters exceed the shared memory of a block (48 KiB: 11 x 11 patches on images
/// 180 wide, one plane, single precision).
struct ConvolveLaunch {
    ConvolveCall call;
    const std::int32_t* index;
    const void *w, *along, *weights;
    void *out, *workspace;
    std::int64_t problems;
    bool is_float;
};

void convolve_values(const ConvolveLaunch& launch, Stream stream);
void convolve_jacobian(const ConvolveLaunch& launch, Stream stream);
void convolve_tangent(const ConvolveLaunch& launch, Stream stream);
std::int64_t convolve_workspace(const ConvolveLaunch& launch);
void convolve_contract(const ConvolveLaunch& launch, Stream stream);

}  // namespace cuda
}  // namespace varpro
