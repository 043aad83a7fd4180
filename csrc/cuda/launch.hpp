/// The CUDA kernels as C++ functions.  Formulas and letters as in csrc/kernels/<stem>.hpp; every array is C-contiguous,
/// lies on the current device, leads with the problems, and does not alias another.
///
/// A call enqueues on `stream` and does not synchronise.  It throws LaunchError, with the kernel's name, where the
/// launch is refused.  No atomics: the same arguments give the same bits.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "../kernels/scalarize.hpp"
#include "../kernels/small_fits.hpp"
#include "../kernels/softmax_divergence.hpp"

namespace varpro::cuda {

using Stream = void*;

struct LaunchError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Quadratic units: as varpro::QuadraticCall, from the images themselves: S_c = X_c + X_c^T is formed on the way in.
/// images (any rows, planes, side, side) of `pixel`, bytes read as value / 255.  index (problems, n) rows of images, or
/// null: problem after problem.  w (problems, rows, units), phi (problems, n, units + 1), d (problems, n, rows * units)
/// or null.  w and phi double and d double or float, or all three float.  side <= 1024, planes
/// as far as shared memory holds their sums (25 at side 64).
/// gram (problems, units + 1, units + 1) double, the lower triangle of Phi^T Phi, or null: summed in double beside Phi
/// where a block has all units and up to 384 threads (28 x 28 pixels: 54 units), else from Phi in memory.  With gram a
/// workspace of quadratic_workspace(call) bytes, null where that is 0: the parts of 16 to 128 images, added in order.
/// Moves planes side^2 sizeof(pixel) + (units + 1) sizeof(phi) + rows units sizeof(d) bytes an image; gram at 128
/// images a part 8 (units + 1)^2 / 128 more.
struct QuadraticLaunch {
    const void* images;
    const std::int32_t* index;
    const void* w;
    void* phi;
    void* d;
    std::int64_t problems, n, planes, side, units;
    Pixel pixel;
    bool w_is_float, d_is_float, logistic;
    double* gram;
    void* workspace;
};
std::int64_t quadratic_workspace(const QuadraticLaunch& call);
void quadratic(const QuadraticLaunch& call, Stream stream);

/// Bilinear units: q = u^T X v + b as varpro::BilinearCall.  images (any rows, height, width), pixel, index and types
/// as in QuadraticLaunch; w (problems, height + width + 1, units): rows of u, of v, of b.  phi (problems, n, units +
/// 1), d (problems, n, (height + width + 1) units) or null.  Both sides <= 1024. Moves height width sizeof(pixel) +
/// (units + 1) sizeof(phi) + (height + width + 1) units sizeof(d) bytes an image, with 4 height width units operations,
/// half of them where d is null.  gram and workspace as in QuadraticLaunch.
struct BilinearLaunch {
    const void* images;
    const std::int32_t* index;
    const void* w;
    void* phi;
    void* d;
    std::int64_t problems, n, height, width, units;
    Pixel pixel;
    bool w_is_float, d_is_float, logistic;
    double* gram;
    void* workspace;
};
std::int64_t bilinear_workspace(const BilinearLaunch& call);
void bilinear(const BilinearLaunch& call, Stream stream);

/// Images packed for values alone: q without its bias is out[n] . pack(w), pack(w) = w_k w_l for k <= l (times g_c,
/// plane after plane), a matrix product; then activate.  out (problems n, planes side (side + 1) / 2) double or float:
/// X_kk, and X_kl + X_lk for k < l, row after row.  images, pixel, index and side as in QuadraticLaunch; planes <= 128.
/// Moves planes (side^2 sizeof(pixel) + side (side + 1) / 2 sizeof(out)) bytes an image.
struct PackedLaunch {
    const void* images;
    const std::int32_t* index;
    void* out;
    std::int64_t problems, n, planes, side;
    Pixel pixel;
    bool out_is_float;
};
void packed(const PackedLaunch& call, Stream stream);

/// In place: phi (problems, n, units + 1) holds q without its bias in all columns but the last, which need hold
/// nothing, and becomes [sigma(q + bias) | 1]; bias (problems, units).  Both double or both float. Moves 2 (units + 1)
/// sizeof(phi) bytes a row.
struct ActivateLaunch {
    void* phi;
    const void* bias;
    std::int64_t problems, n, units;
    bool is_float, logistic;
};
void activate(const ActivateLaunch& call, Stream stream);

/// The Gauss-Newton matrix from its products, the lower triangle of
///   h[m, m'] = aat[j, j'] (gram - ztz)[m, m'] + gram_inverse[j, j'] (g g^T)[m, m'] + (m = m') lambda diagonal[m],
/// j = columns[m].  gram, ztz (problems, m, m), only m' <= m read; ztz null where gram holds the difference already;
/// aat, gram_inverse (problems, i, i), the latter null for Kaufman's matrix; g (problems, m, k); columns (m); lambda
/// (problems) and diagonal (problems, m), both null for no damping; h (problems, m, m), m' > m untouched.
/// All double; or gram float; or all float.  Moves m^2 / 2 (sizeof(gram) + sizeof(ztz) + sizeof(h)) bytes a problem.
struct AssembleLaunch {
    const void* gram;
    const void* ztz;
    const void* aat;
    const void* gram_inverse;
    const void* g;
    const std::int32_t* columns;
    const void* lambda;
    const void* diagonal;
    void* h;
    std::int64_t problems, m, i, k;
    bool gram_is_float, h_is_float;
};
void assemble(const AssembleLaunch& call, Stream stream);

/// Products with the compressed Jacobian: z = U^T D and g = D^T R, all sums in double.
/// d (problems, n, m) double or float; u (problems, n, rank) and r (problems, n, k), either without columns; z
/// (problems, rank, m), g (problems, m, k).  workspace: jacobian_products_workspace(call) bytes, null where that is 0:
/// partial sums where blocks share the rows of a problem, which depends on the sizes alone. Reads d ceil((rank + k) /
/// 64) times, two entries a load where m is even and d aligned, and moves 8 (n + m) (rank + k) bytes a problem beside
/// it, with 2 n m (rank + k) operations on the tensor cores.
struct JacobianProductsLaunch {
    const void* d;
    const double* u;
    const double* r;
    double* z;
    double* g;
    void* workspace;
    std::int64_t problems, n, m, rank, k;
    bool d_is_float;
};
std::int64_t jacobian_products_workspace(const JacobianProductsLaunch& call);
void jacobian_products(const JacobianProductsLaunch& call, Stream stream);

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

/// As varpro::InwardScaleCall.
struct InwardScaleLaunch {
    const void* x;
    const void* g;
    void* out;
    double* s;
    double* along;
    std::int64_t n, d;
    bool is_float;
    double xi, eps;
};
void inward_scale(const InwardScaleLaunch& call, Stream stream);

/// As varpro::DivergenceCall; order, first from class_order; best is zero for a class without samples.  workspace:
/// softmax_divergence_workspace(call) bytes.  Reads f five times at most, mostly from the cache, and writes by_f.
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

/// An orthonormal basis of the range of each Phi and the way back to coefficients, the rank and what is rescaled or
/// truncated as varpro.linalg.projector.factor has it:
///   [Phi; sqrt(ridge) I] = Q R,  u = top block of Q,  A = back u^T Y.
/// phi (problems, n, units), not modified, and u like it, columns beyond the rank zero: both double, or phi float and u
/// either; n any, units from 1 to 64.  gram (problems, units, units), the lower triangle of Phi^T Phi in double, or
/// null: saves a pass over phi. back (problems, units, units); rank (problems); condition (problems), kappa_1(R) where
/// two rounds of Cholesky QR served, else sigma_1 / sigma_rank, infinite at rank 0; finite (problems): 0 where phi has
/// a value that is not, and then u and back are NaN, the rank 0, the condition infinite.  tolerance >= 0, relative to
/// sigma_1; rescale: of columns of unit length, unless one is zero.  workspace: projector_workspace(call) bytes that
/// begin at a multiple of 8.
///
/// Ten kernels without a word to the host; a problem that does not need one leaves it at once.  All sums are in double.
/// A well-conditioned problem reads phi three times (two with gram) and writes u once, with 5/2 n units^2
/// multiply-adds. Any other reads phi up to five times, and writes u twice and reads it twice.
struct ProjectorLaunch {
    const void* phi;
    const double* gram;
    void* u;
    double* back;
    std::int32_t* rank;
    double* condition;
    std::int32_t* finite;
    void* workspace;
    std::int64_t problems, n, units;
    double ridge, tolerance;
    bool rescale, phi_is_float, u_is_float;
};
std::int64_t projector_workspace(const ProjectorLaunch& call);
void projector(const ProjectorLaunch& call, Stream stream);

/// Many small problems, as varpro::SmallFitsCall, and their searches, as SmallSearchCall and SmallAdvanceCall say.
///   program (i) and t, or phi (count, n, i) and d (count, n, m).  problems (count) or null: problem b is number b.
///   y and weights float or double; phi and d float or double; t, states and what is inside double.
///   states (any rows, stride): rows[b], or b where rows is null, is the state of problem b.
/// i <= 16, k <= 8, m <= 48, p <= 16.  What a problem gets does not depend on those beside it.
struct SmallLaunch {
    const ProgramColumn* program;
    const double* t;
    const void *phi, *d;
    const void *y, *weights;
    const std::int64_t* problems;
    const std::int32_t *columns, *parameters;
    double* states;
    const std::int64_t* rows;
    std::int64_t count, n, i, k, m, p;
    std::int64_t t_stride, y_stride, weights_stride, stride;
    SearchRules rules;
    double ridge;
    bool kaufman, y_is_float, phi_is_float;
    std::int64_t in_turn;  // problems that a team of lanes takes one after another; 0: chosen by count
};

/// How a search computes: in double; in float but for the algebra after the sums, with tolerances no finer than float
/// has; or so first, and then in double from where that ended.
enum class Arithmetic : std::int32_t { full, single, polished };

/// The search of each problem of a program from its state to the end; a state that does not run is left alone.
/// Reads a problem's y twice an evaluation, from the caches after the first time.
void small_searches(const SmallLaunch& call, Arithmetic arithmetic, Stream stream);

/// One trial step of each problem, whose phi and d at the trial w are given.
/// Moves n (2 i + m) sizeof(phi) + 2 n k sizeof(y) bytes a problem.
void small_advance(const SmallLaunch& call, Stream stream);

}  // namespace varpro::cuda
