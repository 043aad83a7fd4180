/// Householder's QR of a block of rows under a triangle, and one-sided Jacobi on the rows of a matrix: both in shared
/// memory, by 256 threads.
#pragma once

#include "device.cuh"

namespace varpro::cuda {

constexpr int kColumnLanes = 4;          // threads that share a column of Householder's QR
constexpr int kPairLanes = 8;            // threads that share a pair of rows of Jacobi's method
constexpr double kNothing = 1e-280;      // a squared length that is negligible beside 1, but has a finite reciprocal
constexpr double kNegligible = 5e-39;    // (1e-3 eps)^2: a row this short beside others near 1 holds only rounding
constexpr int kMostSweeps = 40;          // eight to ten are enough up to condition 1e14
constexpr double kOrthogonal = 1.8e-15;  // 8 eps: a smaller cosine is the rounding of 64 products

template <int kLanesOf>
__device__ __forceinline__ double lane_sum(double value) {
    for (int with = 1; with < kLanesOf; with *= 2) value += __shfl_xor_sync(0xffffffffu, value, with);
    return value;
}

/// [R; X] = Q R', R' in the place of R.  r: R packed column by column, but for its diagonal, which lies in diagonal[0];
/// x: column c at x + c * pitch, `rows` rows, a multiple of four, destroyed.  Columns have a size of about 1.  Thread c
/// knows the new diagonal[0][c] at once, the others after a barrier; x may be refilled without one.
__device__ inline void absorb(double* r, double* x, double (*diagonal)[64], int rows, int pitch, int units) {
    const int c = threadIdx.x / kColumnLanes, part = threadIdx.x % kColumnLanes;
    double* const own = x + c * pitch;
    for (int j = 0; j < units; ++j) {
        const bool later = c > j && c < units;
        const double* const v = x + j * pitch;
        double square = 0, dot = 0;
        for (int row = part; row < rows; row += kColumnLanes) {
            square += v[row] * v[row];
            if (later) dot += v[row] * own[row];
        }
        double* const above = r + c * (c + 1) / 2 + j;
        const double corner = diagonal[0][j];
        // one thread reads and writes it: no other may still be about to read it
        const double held = __shfl_sync(0xffffffffu, later && part == 0 ? *above : 0.0, (threadIdx.x - part) % 32);
        square = lane_sum<kColumnLanes>(square);  // the same bits in every column, so that all agree
        dot = lane_sum<kColumnLanes>(dot);
        if (square > kNothing) {
            const double length = sqrt(corner * corner + square), head = corner > 0 ? corner + length : corner - length;
            const double scale = (head * held + dot) * (2.0 / (head * head + square));
            if (later) {
                if (part == 0) *above = held - scale * head;
                for (int row = part; row < rows; row += kColumnLanes) own[row] -= scale * v[row];
            }
            if (c == j && part == 0) diagonal[1][j] = corner - head;
        } else if (c == j && part == 0) {
            diagonal[1][j] = corner;
        }
        __syncthreads();  // column j + 1 has been reflected
    }
    if (static_cast<int>(threadIdx.x) < units) diagonal[0][threadIdx.x] = diagonal[1][threadIdx.x];
}

/// The pair k of a round in which each of n players (even) meets another.
__device__ __forceinline__ void pair_of(int round, int k, int n, int& one, int& other) {
    one = k == 0 ? n - 1 : (round + k) % (n - 1);
    other = k == 0 ? round : (round - k + n - 1) % (n - 1);
}

/// Rotates the rows one and other in their plane until they are orthogonal; false if they already are.
__device__ __forceinline__ bool turn(double* one, double* other, bool both, int width, int part) {
    double aa = 0, bb = 0, ab = 0;
    if (both)
        for (int e = part; e < width; e += kPairLanes) {
            aa += one[e] * one[e];
            bb += other[e] * other[e];
            ab += one[e] * other[e];
        }
    aa = lane_sum<kPairLanes>(aa);
    bb = lane_sum<kPairLanes>(bb);
    ab = lane_sum<kPairLanes>(ab);
    if (!(aa > kNegligible && bb > kNegligible && fabs(ab) > kOrthogonal * sqrt(aa) * sqrt(bb))) return false;
    const double cotangent = (bb - aa) / (2.0 * ab);
    const double tangent = copysign(1.0, cotangent) / (fabs(cotangent) + sqrt(1.0 + cotangent * cotangent));
    const double cosine = 1.0 / sqrt(1.0 + tangent * tangent), sine = cosine * tangent;
    for (int e = part; e < width; e += kPairLanes) {
        const double a = one[e], b = other[e];
        one[e] = cosine * a - sine * b;
        other[e] = sine * a + cosine * b;
    }
    return true;
}

/// Orthogonal rows J^T m for an orthogonal J, from a square m of n rows whose largest singular value is near one: J is
/// the left and the rows, divided by their lengths, are the right singular vectors.  turned: 2 x 32 numbers.
__device__ inline void orthogonalize_rows(double* m, int n, int pitch, int (*turned)[32]) {
    const int k = threadIdx.x / kPairLanes, part = threadIdx.x % kPairLanes, players = n + n % 2;
    for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
        int count = 0;
        for (int round = 0; round < players - 1; ++round) {
            int one = 0, other = 0;
            if (k < players / 2) pair_of(round, k, players, one, other);
            const bool both = one != other && one < n && other < n;
            count += turn(m + one * pitch, m + other * pitch, both, n, part);
            if (round == players - 2 && part == 0) turned[sweep % 2][k] = count;
            __syncthreads();  // all pairs have turned
        }
        int all = 0;
        for (int pair = 0; pair < players / 2; ++pair) all += turned[sweep % 2][pair];
        if (all == 0) return;
    }
}

}  // namespace varpro::cuda
