// Passes over the rows of Phi: Gram matrices and the product that forms u.
//
// A warp owns a strip of rows and goes through it 32 rows at a time, so that once the factor is loaded no warp waits
// for another.  A solve holds eight columns of a lane's row in registers: for each known column one number of its own
// and eight that the whole warp reads at once.  A Gram matrix stays in registers for the whole strip, in blocks of
// 4 x 4.  Columns of a block lie a quarter of the matrix apart: the blocks of a warp then read consecutive columns,
// which lie in different banks.
#include "projector.cuh"
#include "row_tile.cuh"

namespace varpro::cuda {
namespace {

constexpr int kSide = 4;  // of a block of the Gram matrix
constexpr int kMostThreads = 256;

/// The blocks of the Gram matrix that a lane sums: columns a + kApart i by b + kApart j, b <= a < kApart.
template <int kApart>
struct Products {
    static constexpr int kTotal = kApart * (kApart + 1) / 2, kBlocks = (kTotal + kLanes - 1) / kLanes;
    double sum[kBlocks][kSide][kSide] = {};

    __device__ static void block_of(int number, int& a, int& b) {
        a = 0, b = number < kTotal ? number : 0;  // or the first block once more, to be dropped
        while (b > a) b -= ++a;
    }

    /// x, y: where this lane's columns a and b of each block begin in the tile.
    struct Places {
        int x[kBlocks], y[kBlocks];
    };
    __device__ static Places places_of(int lane) {
        Places places;
        for (int t = 0; t < kBlocks; ++t) {
            block_of(lane + t * kLanes, places.x[t], places.y[t]);
            places.x[t] *= kPitch, places.y[t] *= kPitch;
        }
        return places;
    }

    __device__ void add(const double* tile, const Places& places) {
#pragma unroll 1  // more would cost registers
        for (int row = 0; row < kLanes; ++row)
#pragma unroll
            for (int t = 0; t < kBlocks; ++t) {
                double x[kSide], y[kSide];
#pragma unroll
                for (int i = 0; i < kSide; ++i) {
                    x[i] = tile[places.x[t] + row + kApart * i * kPitch];
                    y[i] = tile[places.y[t] + row + kApart * i * kPitch];
                }
#pragma unroll
                for (int i = 0; i < kSide; ++i)
#pragma unroll
                    for (int j = 0; j < kSide; ++j) sum[t][i][j] += x[i] * y[j];
            }
    }

    /// To the lower triangle, row after row.
    __device__ void write(int lane, int units, double* triangle) const {
#pragma unroll
        for (int t = 0; t < kBlocks; ++t) {
            int a, b;
            block_of(lane + t * kLanes, a, b);
            if (lane + t * kLanes >= kTotal) continue;
#pragma unroll
            for (int i = 0; i < kSide; ++i)
#pragma unroll
                for (int j = 0; j < kSide; ++j) {
                    const int one = a + kApart * i, other = b + kApart * j;
                    const int row = one > other ? one : other, column = one > other ? other : one;
                    if (row < units && (a != b || j <= i)) triangle[row * (row + 1) / 2 + column] = sum[t][i][j];
                }
        }
    }
};

/// What the sums and a solve need.
constexpr int registers(int apart) { return apart == 7 ? 128 : apart == 10 ? 168 : apart == 13 ? 204 : 255; }

/// The strip of a warp.
struct Strip {
    std::int64_t problem, first;
    int warp, lane, number, rows;  // no rows past the end

    __device__ Strip(const ProjectorLaunch& call, const ProjectorCut& cut)
        : problem(blockIdx.x / cut.blocks), warp(threadIdx.x / kLanes), lane(threadIdx.x % kLanes) {
        number = static_cast<int>(blockIdx.x % cut.blocks) * cut.warps + warp;
        first = static_cast<std::int64_t>(number) * cut.strip_rows;
        const std::int64_t left = number < cut.strips ? call.n - first : 0;
        rows = left < 0 ? 0 : left < cut.strip_rows ? static_cast<int>(left) : cut.strip_rows;
    }

    template <typename Real>
    __device__ Real* rows_of(Real* matrix, const ProjectorLaunch& call) const {
        return matrix + (problem * call.n + first) * call.units;
    }
};

/// The Gram matrix of Phi, of Phi R_1^-1, or of the basis in u: a partial sum for each strip.
template <typename Real, int kApart>
__global__ void __launch_bounds__(most_threads(kApart), 65536 / registers(kApart) / most_threads(kApart))
    gram_strips_kernel(ProjectorLaunch call, ProjectorCut cut, Round round) {
    VARPRO_DYNAMIC_SHARED(double, shared);
    const Strip strip(call, cut);
    const auto scratch = scratch_of(call, cut, strip.problem);
    if (round == Round::second && *scratch.at != kRounds) return;
    if (round == Round::basis && *scratch.at != kBasis) return;
    const int units = static_cast<int>(call.units);
    double* const tile = shared + cut.panels + strip.warp * cut.width * kPitch;

    if (round == Round::second) load_factor(scratch.first, units, cut.padded, shared);
    clear_padding(units, cut.width, strip.lane, tile);
    __syncthreads();  // the factor is ready
    if (strip.number >= cut.strips) return;

    const Real* const from = strip.rows_of(static_cast<const Real*>(round == Round::basis ? call.u : call.phi), call);
    Products<kApart> products;
    const auto places = Products<kApart>::places_of(strip.lane);
    for (int row = 0; row < strip.rows; row += kLanes) {
        const int here = strip.rows - row < kLanes ? strip.rows - row : kLanes;
        if (row > 0) __syncwarp();  // the rows before these have been used
        load_tile(from + static_cast<std::int64_t>(row) * units, here, units, strip.lane, tile);
        __syncwarp();  // these are ready
        if (round == Round::second) {
            solve_row(shared, cut.padded, strip.lane, tile);
            __syncwarp();  // all lanes' rows are solved
        }
        products.add(tile, places);
    }
    products.write(strip.lane, units, scratch.sums + strip.number * cut.triangle);
}

/// u <- Phi V S^-1, columns of about unit length that are orthogonal as far as V S^-1 is accurate.
template <typename Real, typename Basis>
__global__ void __launch_bounds__(kMostThreads, 2) basis_kernel(ProjectorLaunch call, ProjectorCut cut) {
    VARPRO_DYNAMIC_SHARED(double, shared);
    const Strip strip(call, cut);
    const auto scratch = scratch_of(call, cut, strip.problem);
    if (*scratch.at != kBasis) return;
    const int units = static_cast<int>(call.units), lane = strip.lane;
    double* const panel = shared;
    double* const tile = shared + cut.panels + strip.warp * cut.width * kPitch;
    const Real* const from = strip.rows_of(static_cast<const Real*>(call.phi), call);
    Basis* const to = strip.rows_of(static_cast<Basis*>(call.u), call);

    for (int row = 0; row < cut.strip_rows; row += kLanes) {  // as often for every warp: there are barriers
        const int here = strip.rows - row < 0 ? 0 : strip.rows - row < kLanes ? strip.rows - row : kLanes;
        const std::int64_t start = static_cast<std::int64_t>(row) * units;
        load_tile(from + start, here, units, lane, tile);
        for (int first = 0; first < units; first += kPanel) {
            __syncthreads();  // the panel before this one has been used
            for (int e = threadIdx.x; e < units * kPanel; e += blockDim.x) {
                const int c = first + e % kPanel;
                panel[e] = c < units ? -scratch.matrix[e / kPanel * units + c] : 0.0;
            }
            __syncthreads();  // this one, and at first the tile, is ready
            double x[kPanel] = {};
            for (int k = 0; k < units; ++k) subtract(tile[k * kPitch + lane], panel + k * kPanel, x);
            for (int i = 0; i < kPanel; ++i)
                if (lane < here && first + i < units) to[start + lane * units + first + i] = static_cast<Basis>(x[i]);
        }
        __syncwarp();  // the tile has been used
    }
}

/// u <- Phi R_1^-1 R_2^-1, or u R^-1 where u holds a basis, or NaN.
template <typename Real, typename Basis>
__global__ void __launch_bounds__(kMostThreads, 2) write_kernel(ProjectorLaunch call, ProjectorCut cut) {
    VARPRO_DYNAMIC_SHARED(double, shared);
    const Strip strip(call, cut);
    const auto scratch = scratch_of(call, cut, strip.problem);
    const std::int32_t at = *scratch.at;
    const int units = static_cast<int>(call.units), solves = at == kDone ? 2 : at == kBasis ? 1 : 0;
    double* const tile = shared + cut.panels + strip.warp * cut.width * kPitch;
    const Real* const phi = strip.rows_of(static_cast<const Real*>(call.phi), call);
    Basis* const u = strip.rows_of(static_cast<Basis*>(call.u), call);

    clear_padding(units, cut.width, strip.lane, tile);
    for (int row = 0; row < cut.strip_rows; row += kLanes) {  // as often for every warp: there are barriers
        const int here = strip.rows - row < 0 ? 0 : strip.rows - row < kLanes ? strip.rows - row : kLanes;
        const std::int64_t start = static_cast<std::int64_t>(row) * units;
        if (at == kDone)
            load_tile(phi + start, here, units, strip.lane, tile);
        else if (at == kBasis)
            load_tile(u + start, here, units, strip.lane, tile);
        for (int solve = 0; solve < solves; ++solve) {
            __syncthreads();  // the factor before this one has been used
            load_factor(solve == 0 ? scratch.first : scratch.second, units, cut.padded, shared);
            __syncthreads();  // this one, and at first the tile, is ready
            solve_row(shared, cut.padded, strip.lane, tile);
        }
        if (solves == 0)
            for (int c = 0; c < units; ++c) tile[c * kPitch + strip.lane] = nan("");
        __syncwarp();  // all lanes' rows are ready
        // what a lane takes out here is what it overwrites when it loads the next rows: no barrier after it
        store_tile(tile, here, units, strip.lane, u + start);
    }
}

template <typename Kernel, typename... More>
void launch(const char* name, Kernel kernel, const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream,
            More... more) {
    const dim3 grid(static_cast<unsigned>(call.problems * cut.blocks)), block(cut.warps * kLanes);
    const std::int64_t numbers = cut.panels + cut.warps * cut.width * kPitch;
    VARPRO_LAUNCH(kernel, grid, block, numbers * sizeof(double), stream, call, cut, more...);
    check_launch(name);
}

template <typename Real>
auto gram_for(int apart) {
    return apart == 7    ? gram_strips_kernel<Real, 7>
           : apart == 10 ? gram_strips_kernel<Real, 10>
           : apart == 13 ? gram_strips_kernel<Real, 13>
                         : gram_strips_kernel<Real, 16>;
}

}  // namespace

void launch_gram(const ProjectorLaunch& call, const ProjectorCut& cut, Round round, Stream stream) {
    const bool is_float = round == Round::basis ? call.u_is_float : call.phi_is_float;
    launch("projector (Gram matrix)", is_float ? gram_for<float>(cut.apart) : gram_for<double>(cut.apart), call, cut,
           stream, round);
}

void launch_basis(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream) {
    auto* const kernel = call.u_is_float     ? basis_kernel<float, float>
                         : call.phi_is_float ? basis_kernel<float, double>
                                             : basis_kernel<double, double>;
    launch("projector (basis)", kernel, call, cut, stream);
}

void launch_write(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream) {
    auto* const kernel = call.u_is_float     ? write_kernel<float, float>
                         : call.phi_is_float ? write_kernel<float, double>
                                             : write_kernel<double, double>;
    launch("projector (u)", kernel, call, cut, stream);
}

}  // namespace varpro::cuda
