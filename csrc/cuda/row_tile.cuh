/// A warp's 32 rows in shared memory: in, through a triangular solve or a product, out.
///
/// Column c of the tile lies at tile + c * kPitch, row r belongs to lane r.  The odd pitch keeps apart the banks of
/// lanes that read one row of consecutive columns; lanes that read one column lie side by side anyway.
#pragma once

#include "device.cuh"

namespace varpro::cuda {

constexpr int kLanes = 32;
constexpr int kPitch = kLanes + 1;
constexpr int kPanel = 8;  // columns that a lane holds in registers

struct alignas(16) Two {
    double v[2];
};

/// What a lane reads or writes next when a warp goes through rows of `units` numbers, 32 numbers at a time.
struct Walk {
    int row, column, rows_on, columns_on, units;
    __device__ Walk(int lane, int units_)
        : row(lane / units_),
          column(lane % units_),
          rows_on(kLanes / units_),
          columns_on(kLanes % units_),
          units(units_) {}
    __device__ void step() {
        row += rows_on;
        column += columns_on;
        if (column >= units) column -= units, ++row;
    }
};

/// tile <- rows of `from`, zero past `rows`.
template <typename Real>
__device__ __forceinline__ void load_tile(const Real* from, int rows, int units, int lane, double* tile) {
    Walk at(lane, units);
#pragma unroll 4
    for (int e = lane; e < kLanes * units; e += kLanes, at.step())
        tile[at.column * kPitch + at.row] = at.row < rows ? static_cast<double>(from[e]) : 0.0;
}

template <typename Real>
__device__ __forceinline__ void store_tile(const double* tile, int rows, int units, int lane, Real* to) {
    Walk at(lane, units);
#pragma unroll 4
    for (int e = lane; e < kLanes * units; e += kLanes, at.step())
        if (at.row < rows) to[e] = static_cast<Real>(tile[at.column * kPitch + at.row]);
}

/// Columns units .. width - 1 of the tile to zero; load_tile leaves them alone, and a solve keeps them zero.
__device__ __forceinline__ void clear_padding(int units, int width, int lane, double* tile) {
    for (int c = units; c < width; ++c) tile[c * kPitch + lane] = 0.0;
}

/// By all threads: panels <- the upper triangle r (units, units) with reciprocals on the diagonal, and the identity
/// beyond.  Panel J holds columns 8 J .. 8 J + 7: 8 J rows, then the diagonal block.
__device__ __forceinline__ void load_factor(const double* r, int units, int padded, double* panels) {
    for (int first = 0; first < padded; first += kPanel) {
        for (int e = threadIdx.x; e < (first + kPanel) * kPanel; e += blockDim.x) {
            const int k = e / kPanel, c = first + e % kPanel;
            double value = k == c ? 1.0 : 0.0;
            if (k <= c && c < units) value = k == c ? 1.0 / r[k * units + c] : r[k * units + c];
            panels[e] = value;
        }
        panels += (first + kPanel) * kPanel;
    }
}

/// x -= known * a row of a panel
__device__ __forceinline__ void subtract(double known, const double* row, double (&x)[kPanel]) {
#pragma unroll
    for (int pair = 0; pair < kPanel / 2; ++pair) {
        const Two r = reinterpret_cast<const Two*>(row)[pair];
        x[2 * pair] -= known * r.v[0];
        x[2 * pair + 1] -= known * r.v[1];
    }
}

/// The lane's row x <- x R^-1 by substitution.  An inverse of R made beforehand would lose kappa(R) eps of Q R = Phi.
__device__ __forceinline__ void solve_row(const double* panels, int padded, int lane, double* tile) {
    for (int first = 0; first < padded; first += kPanel) {
        double x[kPanel];
#pragma unroll
        for (int i = 0; i < kPanel; ++i) x[i] = tile[(first + i) * kPitch + lane];
#pragma unroll 2  // a pass holds its Gram matrix in registers meanwhile
        for (int k = 0; k < first; ++k) subtract(tile[k * kPitch + lane], panels + k * kPanel, x);
        panels += first * kPanel;
#pragma unroll
        for (int i = 0; i < kPanel; ++i) {
            x[i] *= panels[i * kPanel + i];
#pragma unroll
            for (int j = i + 1; j < kPanel; ++j) x[j] -= x[i] * panels[i * kPanel + j];
            tile[(first + i) * kPitch + lane] = x[i];
            asm volatile(
                "" ::
                    : "memory");  // or all 36 numbers of the block are loaded at once, into registers that do not exist
        }
        panels += kPanel * kPanel;
    }
}

}  // namespace varpro::cuda
