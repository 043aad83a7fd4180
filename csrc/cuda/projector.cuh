/// What the files of the projector share: how the rows of a problem are cut, where its scratch lies, how far it has
/// come, and the passes, which projector.cu calls one after another.
#pragma once

#include "../kernels/projector.hpp"
#include "device.cuh"

namespace varpro::cuda {

constexpr int kMostUnits = 64;
constexpr int kSmallThreads = 256;  // of a block that works on a whole problem's units x units matrices
constexpr std::int64_t kSharedNumbers = 48 * 1024 / sizeof(double);  // of a block that does not ask for more

/// How far a problem has come.  Every kernel of the chain is launched; a block returns if its problem needs nothing.
enum Progress : std::int32_t {
    kRounds,     // one round of Cholesky QR has succeeded
    kJudged,     // two have, but the singular values of R decide the rank
    kRefused,    // the gate is shut: Householder's QR
    kBasis,      // u is a basis of the range, from the singular vectors of R; its columns need one more round
    kDone,       // u = Phi R_1^-1 R_2^-1
    kNotFinite,  // some value is NaN or infinite
};

/// Which matrix a pass over the rows forms the Gram matrix of, and which round of Cholesky follows.
enum class Round { first, second, basis };

/// Threads of a block that forms a Gram matrix, by ProjectorCut::apart: there are no registers for more.
constexpr int most_threads(int apart) { return apart == 7 ? 256 : apart == 10 ? 96 : 64; }

/// How the work is cut; computed on the host from n and units alone, so that the sums of a problem do not depend on its
/// neighbours.
struct ProjectorCut {
    int padded, width, apart;       // units to whole panels of eight columns; columns of a tile; see gram_strips_kernel
    std::int64_t panels;            // numbers of a factor in panels
    int strips, strip_rows;         // of Cholesky QR, a warp each
    int warps, blocks;              // warps (strips) per block, blocks per problem
    int slabs, slab_rows, pitch;    // of Householder's QR, a block each, pitch rows at a time
    std::int64_t triangle, square;  // units (units + 1) / 2, units^2
    std::int64_t slab;    // numbers that a slab leaves: R column by column, the columns' scales, whether finite
    std::int64_t stride;  // numbers of scratch per problem
};

/// The scratch of a problem.
struct ProjectorScratch {
    double* sums;      // (strips, triangle) Gram matrices, lower triangle row by row; or the slabs' factors
    double* first;     // (units, units) R_1, upper; later R of the basis
    double* second;    // (units, units) R_2, upper; later (units) sigma_1 / sigma_k
    double* matrix;    // (units, units) R; later V S^-1, columns beyond the rank zero
    std::int32_t* at;  // Progress
};

__device__ __forceinline__ ProjectorScratch scratch_of(const ProjectorLaunch& call, const ProjectorCut& cut,
                                                       std::int64_t problem) {
    auto* const numbers = static_cast<double*>(call.workspace);
    ProjectorScratch s;
    s.first = numbers + problem * cut.stride;
    s.second = s.first + cut.square;
    s.matrix = s.second + cut.square;
    s.sums = s.matrix + cut.square;
    s.at = reinterpret_cast<std::int32_t*>(numbers + call.problems * cut.stride) + problem;
    return s;
}

void launch_gram(const ProjectorLaunch& call, const ProjectorCut& cut, Round round, Stream stream);
void launch_factor(const ProjectorLaunch& call, const ProjectorCut& cut, Round round, Stream stream);
void launch_householder(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream);
void launch_reveal(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream);
void launch_basis(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream);
void launch_write(const ProjectorLaunch& call, const ProjectorCut& cut, Stream stream);

}  // namespace varpro::cuda
