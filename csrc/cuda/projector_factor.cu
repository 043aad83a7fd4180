// A round of Cholesky QR on a problem's Gram matrix: R, and the map back to coefficients.
//
// One square of units x (units + 1) numbers holds both triangles that the elimination needs: position j + 1 of row k is
// G[k, j] for j >= k and becomes R[k, j]; position j <= k is B[k, j], which begins as the transpose of what the rounds
// before have left (the identity at first) and becomes that of the same times R^-1.  Rows are not scaled until the end,
// so that a step has one barrier.
#include "projector.cuh"

namespace varpro::cuda {
namespace {

constexpr int kWarp = 32, kWarps = kSmallThreads / kWarp;
constexpr double kCholeskyLimit = 1e7;  // kappa_1(R) up to which two rounds are orthogonal to rounding
constexpr double kMargin = 0.1;         // ... and up to which, over the tolerance, no column can be dependent
constexpr double kNoDirection = 1e-4;   // squared length of what a column of a basis adds to those before it

struct Square {
    double* at;
    int pitch;
    __device__ double& upper(int k, int j) const { return at[k * pitch + j + 1]; }  // k <= j
    __device__ double& lower(int k, int j) const { return at[k * pitch + j]; }      // j <= k
};

/// The sum of the strips' Gram matrices, in their order; or the Gram matrix that the caller has given.
__device__ double gram_entry(const ProjectorLaunch& call, const ProjectorCut& cut, const ProjectorScratch& scratch,
                             std::int64_t problem, bool given, int row, int column) {
    if (given) return call.gram[problem * cut.square + row * call.units + column];
    const double* const sums = scratch.sums + row * (row + 1) / 2 + column;
    double total = 0;
    for (int strip = 0; strip < cut.strips; ++strip) total += sums[strip * cut.triangle];
    return total;
}

/// What the bottom block of Q, sqrt(mu) times the map back, adds to the Gram matrix.
__device__ double ridge_entry(const double* way_back, int units, int row, int column) {
    double total = 0;
    for (int i = 0; i < units; ++i) total += way_back[i * units + row] * way_back[i * units + column];
    return total;
}

__device__ void fill(const ProjectorLaunch& call, const ProjectorCut& cut, const ProjectorScratch& scratch,
                     std::int64_t problem, Round round, const Square& square) {
    const int units = static_cast<int>(call.units), warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    const double* const back = call.back + problem * cut.square;
    const double* const way_back = round == Round::second ? back : scratch.matrix;
    const bool given = round == Round::first && call.gram;
    for (int row = warp; row < units; row += kWarps)
        for (int column = lane; column <= row; column += kWarp) {
            double g = gram_entry(call, cut, scratch, problem, given, row, column);
            if (call.ridge > 0) {
                const double bottom =
                    round == Round::first ? (row == column ? 1.0 : 0.0) : ridge_entry(way_back, units, row, column);
                g += call.ridge * bottom;
            }
            square.upper(column, row) = g;
            square.lower(row, column) = round == Round::second ? back[column * units + row] : row == column ? 1.0 : 0.0;
        }
}

/// Gaussian elimination of the leading `size` rows; returns the row whose pivot is not above `least`, or size.
__device__ int eliminate(const Square& square, int size, double least) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    for (int k = 0; k < size; ++k) {
        const double pivot = square.upper(k, k);
        if (!(pivot > least)) return k;  // or is NaN; the same number for all threads
        const double reciprocal = 1.0 / pivot;
        for (int i = k + 1 + warp; i < size; i += kWarps) {
            const double multiplier = square.upper(k, i) * reciprocal;
            for (int e = lane; e < k + 1 + size - i; e += kWarp) {  // B[i, 0..k], then G[i, i..]
                const int at = e <= k ? e : i + e - k;
                square.at[i * square.pitch + at] -= multiplier * square.at[k * square.pitch + at];
            }
        }
        __syncthreads();  // row k + 1 is done
    }
    return size;
}

/// R = R_2 R_1 and the sums of magnitudes in each column of R and of its inverse, with four lanes per column.
__device__ void column_sums(const ProjectorScratch& scratch, const Square& square, const double* scale, int units,
                            double* of_r, double* of_inverse) {
    const int column = threadIdx.x / 4, part = threadIdx.x % 4;
    double r_sum = 0, inverse_sum = 0;
    if (column < units)
        for (int k = part; k <= column; k += 4) {
            double r = 0;
            for (int m = k; m <= column; ++m) r += square.upper(k, m) * scratch.first[m * units + column];
            r *= scale[k];
            scratch.matrix[k * units + column] = r;
            r_sum += fabs(r);
            inverse_sum += fabs(square.lower(column, k) * scale[column]);
        }
    for (int with = 1; with < 4; with *= 2) {
        r_sum += __shfl_xor_sync(0xffffffffu, r_sum, with);
        inverse_sum += __shfl_xor_sync(0xffffffffu, inverse_sum, with);
    }
    if (column < units && part == 0) of_r[column] = r_sum, of_inverse[column] = inverse_sum;
}

__device__ double largest(const double* values, int count) {
    double most = 0;
    for (int c = 0; c < count; ++c)
        if (!(values[c] <= most)) most = values[c];  // keeps a NaN
    return most;
}

/// back = V S^-1 R^-1, and the rank that is left where columns `size` and beyond have added no direction.
__device__ void finish_basis(const ProjectorLaunch& call, const ProjectorCut& cut, const ProjectorScratch& scratch,
                             std::int64_t problem, const Square& square, const double* scale, int size) {
    const int units = static_cast<int>(call.units);
    double* const back = call.back + problem * cut.square;
    for (int e = threadIdx.x; e < units * units; e += blockDim.x) {
        const int row = e / units, column = e % units;
        double total = 0;
        if (column < size) {
            for (int k = 0; k <= column; ++k) total += scratch.matrix[row * units + k] * square.lower(column, k);
            total *= scale[column];
        }
        back[e] = total;
    }
    if (threadIdx.x == 0 && size < call.rank[problem]) {
        call.rank[problem] = size;
        call.condition[problem] = size > 0 ? scratch.second[size - 1] : double(INFINITY);
    }
}

__global__ void __launch_bounds__(kSmallThreads) factor_kernel(ProjectorLaunch call, ProjectorCut cut, Round round) {
    VARPRO_DYNAMIC_SHARED(double, numbers);
    __shared__ double scale[kMostUnits], of_r[kMostUnits], of_inverse[kMostUnits];
    const std::int64_t problem = blockIdx.x;
    const auto scratch = scratch_of(call, cut, problem);
    if (round == Round::second && *scratch.at != kRounds) return;
    if (round == Round::basis && *scratch.at != kBasis) return;
    const int units = static_cast<int>(call.units), thread = threadIdx.x;
    const int size = round == Round::basis ? call.rank[problem] : units;
    const Square square{numbers, units + 1};

    fill(call, cut, scratch, problem, round, square);
    __syncthreads();  // the square is ready
    const int done = eliminate(square, size, round == Round::basis ? kNoDirection : 0.0);
    if (done < size && round != Round::basis) {
        if (thread == 0) *scratch.at = kRefused;
        return;
    }
    if (thread < done) scale[thread] = 1.0 / sqrt(square.upper(thread, thread));
    __syncthreads();  // the scales are ready

    double* const r = round == Round::second ? scratch.second : scratch.first;
    double* const back = call.back + problem * cut.square;
    for (int e = thread; e < units * units; e += blockDim.x) {
        const int row = e / units, column = e % units;
        const bool inside = row <= column && column < done;
        // dividing by infinity makes a column beyond the rank zero
        if (row <= column)
            r[e] = inside ? square.upper(row, column) * scale[row] : row == column ? double(INFINITY) : 0.0;
        if (round != Round::basis) back[e] = inside ? square.lower(column, row) * scale[column] : 0.0;
    }
    if (round == Round::first && thread == 0)
        *scratch.at = call.n < call.units && !(call.ridge > 0) ? kRefused : kRounds;
    if (round == Round::basis) finish_basis(call, cut, scratch, problem, square, scale, done);
    if (round != Round::second) return;

    column_sums(scratch, square, scale, units, of_r, of_inverse);
    __syncthreads();  // the sums are ready
    if (thread != 0) return;
    const double condition = largest(of_r, units) * largest(of_inverse, units);
    const double limit = kMargin < kCholeskyLimit * call.tolerance ? kMargin / call.tolerance : kCholeskyLimit;
    *scratch.at = condition < limit ? kDone : condition < kCholeskyLimit ? kJudged : kRefused;
    call.rank[problem] = units;
    call.condition[problem] = condition;
    call.finite[problem] = 1;
}

}  // namespace

void launch_factor(const ProjectorLaunch& call, const ProjectorCut& cut, Round round, Stream stream) {
    const std::int64_t numbers = call.units * (call.units + 1);
    VARPRO_LAUNCH(factor_kernel, dim3(static_cast<unsigned>(call.problems)), dim3(kSmallThreads),
                  numbers * sizeof(double), stream, call, cut, round);
    check_launch("projector (Cholesky)");
}

}  // namespace varpro::cuda
