// Where Cholesky QR fails: R by Householder's QR in slabs, its singular values and vectors, the rank, and V S^-1.
//
// Householder's R is accurate to rounding for every Phi: with dependent columns, columns of zeros, fewer rows than
// columns, columns of any size (each is scaled by a power of two).  Jacobi's method then gives V with orthonormal
// columns, so that Phi V S^-1 is off by eps sigma_1 / sigma_k in column k only: one round of Cholesky QR makes it
// orthonormal.
#include "householder.cuh"
#include "projector.cuh"

namespace varpro::cuda {
namespace {

constexpr int kRowLanes = kSmallThreads / kMostUnits;

/// Powers of two that bound the numbers of the columns; or zero, or NaN.
__device__ double power_below(double value) {
    if (!(value > 0)) return value;
    int exponent;
    frexp(value, &exponent);
    return isfinite(value) ? ldexp(1.0, exponent - 1) : double(NAN);
}

/// The larger; NaN where one of them is.
__device__ double larger(double a, double b) { return a > b || a != a ? a : b; }

/// What both kernels keep in shared memory besides the triangle and the tile.
struct Columns {
    double diagonal[2][kMostUnits], scale[kMostUnits];
};

__device__ void begin_triangle(double* r, Columns& columns, int units) {
    for (int e = threadIdx.x; e < units * (units + 1) / 2; e += blockDim.x) r[e] = 0;
    if (static_cast<int>(threadIdx.x) < units) columns.diagonal[0][threadIdx.x] = 0;
}

/// scale[c] from the largest magnitude in column c of a slab.
template <typename Real>
__device__ void measure(const Real* phi, std::int64_t rows, int units, double (*most)[kMostUnits], double* scale) {
    const int c = threadIdx.x % kMostUnits, part = threadIdx.x / kMostUnits;
    double own = 0;
    if (c < units)
        for (std::int64_t row = part; row < rows; row += kRowLanes)
            own = larger(fabs(static_cast<double>(phi[row * units + c])), own);
    most[part][c] = own;
    __syncthreads();  // every thread's share is ready
    if (part == 0 && c < units) {
        for (int p = 1; p < kRowLanes; ++p) own = larger(most[p][c], own);
        scale[c] = power_below(own);
    }
    __syncthreads();  // the scales are ready
}

__device__ bool all_finite(const double* scale, int units) {
    bool finite = true;
    for (int c = 0; c < units; ++c) finite = finite && isfinite(scale[c]);
    return finite;
}

/// A slab's R, the scales of its columns, and whether it is finite, to the scratch.
template <typename Real>
__global__ void __launch_bounds__(kSmallThreads) householder_kernel(ProjectorLaunch call, ProjectorCut cut) {
    VARPRO_DYNAMIC_SHARED(double, r);
    __shared__ Columns columns;
    const std::int64_t problem = blockIdx.x / cut.slabs, slab = blockIdx.x % cut.slabs;
    const auto scratch = scratch_of(call, cut, problem);
    if (*scratch.at != kRefused) return;
    const int units = static_cast<int>(call.units), thread = threadIdx.x;
    const std::int64_t first = slab * cut.slab_rows, left = call.n - first;
    const std::int64_t rows = left < 0 ? 0 : left < cut.slab_rows ? left : cut.slab_rows;
    const Real* const phi = static_cast<const Real*>(call.phi) + (problem * call.n + first) * units;
    double* const x = r + cut.triangle;
    double* const out = scratch.sums + slab * cut.slab;

    measure(phi, rows, units, reinterpret_cast<double (*)[kMostUnits]>(r), columns.scale);
    const bool finite = all_finite(columns.scale, units);
    if (thread == 0) out[cut.triangle + units] = finite;
    if (!finite) return;  // all threads of the block
    begin_triangle(r, columns, units);
    for (std::int64_t row = 0; row < rows; row += cut.pitch) {
        for (int e = thread; e < cut.pitch * units; e += blockDim.x) {
            const int c = e % units, place = e / units;
            const bool inside = row + place < rows && columns.scale[c] > 0;
            x[c * cut.pitch + place] = inside ? static_cast<double>(phi[row * units + e]) / columns.scale[c] : 0.0;
        }
        __syncthreads();  // the tile is ready
        absorb(r, x, columns.diagonal, cut.pitch, cut.pitch, units);
    }
    for (int e = thread; e < cut.triangle; e += blockDim.x) out[e] = r[e];
    __syncthreads();  // the packed diagonal holds nothing: what was written there comes now
    if (thread < units) {
        out[thread * (thread + 1) / 2 + thread] = columns.diagonal[0][thread];
        out[cut.triangle + thread] = columns.scale[thread];
    }
}

/// Scales of the columns of the whole problem; NaN if some slab is not finite.
__device__ void gather_scales(const ProjectorLaunch& call, const ProjectorCut& cut, const ProjectorScratch& scratch,
                              double* scale) {
    const int c = threadIdx.x;
    if (c < call.units) {
        double most = power_below(sqrt(call.ridge));
        for (int slab = 0; slab < cut.slabs; ++slab) {
            const double* const end = scratch.sums + slab * cut.slab + cut.triangle;
            most = end[call.units] != 0 ? larger(end[c], most) : double(NAN);
            if (most != most) break;
        }
        scale[c] = most;
    }
    __syncthreads();  // the scales are ready
}

/// R of all slabs and of the ridge, upper, columns divided by their scales, to scratch.matrix.
__device__ void combine(const ProjectorLaunch& call, const ProjectorCut& cut, const ProjectorScratch& scratch,
                        double* r, Columns& columns) {
    const int units = static_cast<int>(call.units), thread = threadIdx.x;
    double* const x = r + cut.triangle;
    begin_triangle(r, columns, units);
    for (int slab = 0; slab < cut.slabs + (call.ridge > 0); ++slab) {  // last, sqrt(mu) times the identity
        const double* const from = scratch.sums + slab * cut.slab;
        for (int row = 0; row < units; row += cut.pitch) {
            for (int e = thread; e < cut.pitch * units; e += blockDim.x) {
                const int c = e / cut.pitch, j = row + e % cut.pitch;
                double value = 0;
                if (j <= c && columns.scale[c] > 0) {
                    if (slab < cut.slabs)
                        value = from[c * (c + 1) / 2 + j] * (from[cut.triangle + c] / columns.scale[c]);
                    else
                        value = j == c ? sqrt(call.ridge) / columns.scale[c] : 0.0;
                }
                x[e] = value;
            }
            __syncthreads();  // the tile is ready
            absorb(r, x, columns.diagonal, cut.pitch, cut.pitch, units);
        }
    }
    __syncthreads();  // the diagonal is ready
    for (int e = thread; e < units * units; e += blockDim.x) {
        const int j = e / units, c = e % units;
        scratch.matrix[e] = j < c ? r[c * (c + 1) / 2 + j] : j == c ? columns.diagonal[0][c] : 0.0;
    }
    __syncthreads();  // the matrix is ready
}

/// Singular values and right vectors of R diag(weight): rows of `m`, sigma, and each row's place in descending order.
/// The weights bring the largest singular value near one.
struct Values {
    double weight[kMostUnits], sigma[kMostUnits];
    int place[kMostUnits], turned[2][32];
};

__device__ void singular_values(const double* r, int units, double* m, Values& values) {
    const int thread = threadIdx.x, pitch = units | 1;
    for (int e = thread; e < units * units; e += blockDim.x)
        m[e / units * pitch + e % units] = e / units <= e % units ? r[e] * values.weight[e % units] : 0.0;
    __syncthreads();  // the rows are ready
    orthogonalize_rows(m, units, pitch, values.turned);
    if (thread < units) {
        double square = 0;
        for (int e = 0; e < units; ++e) square += m[thread * pitch + e] * m[thread * pitch + e];
        values.sigma[thread] = sqrt(square);
    }
    __syncthreads();  // the singular values are ready
    if (thread < units) {
        int place = 0;
        for (int other = 0; other < units; ++other)
            place += values.sigma[other] > values.sigma[thread] ||
                     (values.sigma[other] == values.sigma[thread] && other < thread);
        values.place[thread] = place;
    }
    __syncthreads();  // the order is ready
}

/// Columns of unit length in `weight`; false where one of them is zero or there are fewer rows than columns.
__device__ bool unit_columns(const ProjectorLaunch& call, const double* r, int units, double* weight) {
    if (static_cast<int>(threadIdx.x) < units) {
        double square = 0;
        for (int j = 0; j <= static_cast<int>(threadIdx.x); ++j)
            square += r[j * units + threadIdx.x] * r[j * units + threadIdx.x];
        weight[threadIdx.x] = 1.0 / sqrt(square);
    }
    __syncthreads();  // the weights are ready
    return all_finite(weight, units) && (call.n >= units || call.ridge > 0);
}

/// Rank and sigma_1 / sigma_rank, the same for all threads.
struct Judgement {
    int rank = 0;
    double first = 0, condition = double(INFINITY);

    __device__ Judgement(const Values& values, int units, double tolerance) {
        for (int c = 0; c < units; ++c) first = values.sigma[c] > first ? values.sigma[c] : first;
        for (int c = 0; c < units; ++c)
            if (values.sigma[c] > tolerance * first) ++rank;
        for (int c = 0; c < units; ++c)
            if (values.place[c] == rank - 1) condition = first / values.sigma[c];
    }
};

__device__ void not_finite(const ProjectorLaunch& call, const ProjectorCut& cut, const ProjectorScratch& scratch,
                           std::int64_t problem) {
    for (int e = threadIdx.x; e < cut.square; e += blockDim.x) call.back[problem * cut.square + e] = double(NAN);
    if (threadIdx.x != 0) return;
    *scratch.at = kNotFinite;
    call.rank[problem] = call.finite[problem] = 0;
    call.condition[problem] = double(INFINITY);
}

__global__ void __launch_bounds__(kSmallThreads) reveal_kernel(ProjectorLaunch call, ProjectorCut cut) {
    VARPRO_DYNAMIC_SHARED(double, numbers);
    __shared__ Columns columns;
    __shared__ Values values;
    const std::int64_t problem = blockIdx.x;
    const auto scratch = scratch_of(call, cut, problem);
    const std::int32_t at = *scratch.at;
    if (at != kRefused && at != kJudged) return;
    const int units = static_cast<int>(call.units), thread = threadIdx.x;

    double widest = 0;  // of the columns' scales, and near sigma_1 of R
    if (at == kRefused) {
        gather_scales(call, cut, scratch, columns.scale);
        if (!all_finite(columns.scale, units)) return not_finite(call, cut, scratch, problem);
        combine(call, cut, scratch, numbers, columns);
        for (int c = 0; c < units; ++c) widest = larger(columns.scale[c], widest);
    } else {
        widest = scratch.matrix[0];  // kappa < 1e7: any length is near enough
        if (thread < units) columns.scale[thread] = 1.0;
    }

    bool full = false;
    if (call.rescale && unit_columns(call, scratch.matrix, units, values.weight)) {
        singular_values(scratch.matrix, units, numbers, values);
        full = Judgement(values, units, call.tolerance).rank == units;
    }
    if (!full) {
        __syncthreads();  // the weights and values of unit columns have been used
        if (thread < units) values.weight[thread] = widest > 0 ? columns.scale[thread] / widest : 0.0;
        __syncthreads();  // the new weights are ready
        singular_values(scratch.matrix, units, numbers, values);
    }
    const Judgement judgement(values, units, call.tolerance);
    const bool done = at == kJudged && judgement.rank == units;
    if (thread == 0) {
        call.rank[problem] = judgement.rank;
        call.condition[problem] = judgement.condition;
        call.finite[problem] = 1;
        *scratch.at = done ? kDone : kBasis;
    }
    if (done) return;  // the factors of Cholesky QR are kept
    // V S^-1 divided by the columns' sizes: R = J S V^T diag(scale / weight)
    for (int e = thread; e < units * units; e += blockDim.x) {
        const int row = e / units, i = e % units, place = values.place[row];
        const double sigma = values.sigma[row], size = full ? columns.scale[i] / values.weight[i] : widest;
        const bool inside = place < judgement.rank;
        scratch.matrix[i * units + place] = inside ? numbers[row * (units | 1) + i] / sigma / sigma / size : 0.0;
        if (i == 0) scratch.second[place] = judgement.first / sigma;
    }
}

std::int64_t shared_bytes(const ProjectorLaunch& call, const ProjectorCut& cut) {
    const std::int64_t householder = cut.triangle + cut.pitch * call.units, shares = kRowLanes * kMostUnits;
    const std::int64_t jacobi = call.units * (call.units | 1), most = householder > jacobi ? householder : jacobi;
    return (most > shares ? most : shares) * static_cast<std::int64_t>(sizeof(double));
}

}  // namespace

void launch_householder(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream) {
    auto* const kernel = call.phi_is_float ? householder_kernel<float> : householder_kernel<double>;
    VARPRO_LAUNCH(kernel, dim3(static_cast<unsigned>(call.problems * cut.slabs)), dim3(kSmallThreads),
                  shared_bytes(call, cut), stream, call, cut);
    check_launch("projector (Householder)");
}

void launch_reveal(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream) {
    VARPRO_LAUNCH(reveal_kernel, dim3(static_cast<unsigned>(call.problems)), dim3(kSmallThreads),
                  shared_bytes(call, cut), stream, call, cut);
    check_launch("projector (singular values)");
}

}  // namespace varpro::cuda
