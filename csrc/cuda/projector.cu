// The projector: two rounds of Cholesky QR with Gram matrices in double; if their gate is shut, the singular values of
// R.
//
//   G = Phi^T Phi = R_1^T R_1,  (Phi R_1^-1)^T (Phi R_1^-1) = R_2^T R_2,  u = Phi R_1^-1 R_2^-1      kappa_1(R) < 1e7
//   R = J S V^T by Householder and Jacobi,  W = Phi V S^-1,  W^T W = R^T R,  u = W R^-1             everywhere else
//
// With a limit below 1e7 (a tolerance above 1e-8, as in single precision) Jacobi's method takes the R of the two
// rounds, and if nothing is truncated their result is kept.  Shifted Cholesky QR in three rounds (Fukaya et al., SIAM
// J. Sci. Comput. 42 (2020) A477-A503) was not used for the second line: it needs a matrix of full rank up to rounding,
// and dead units give columns of zeros.  Q of the first round is never stored.
#include "projector.cuh"
#include "row_tile.cuh"

namespace varpro::cuda {
namespace {

constexpr std::int64_t kStripRows =
    192;  // 2,000 rows make 11 strips: with two warps per block, 104 problems fill an H100
constexpr std::int64_t kMostStrips = 128;
constexpr std::int64_t kSlabTiles = 5;  // of Householder's QR: as many as slabs that are put together afterwards
constexpr std::int64_t kMostSlabs = 16;
constexpr std::int64_t kMostPitch = 260;  // a multiple of 16, plus 4: columns side by side meet no bank twice
constexpr std::int64_t kStaticNumbers = 512;

std::int64_t between(std::int64_t least, std::int64_t value, std::int64_t most) {
    return value < least ? least : value < most ? value : most;
}

/// The largest 16 k + 4 up to `most`.
int pitch_of(std::int64_t most) { return static_cast<int>((between(4, most, kMostPitch) - 4) / 16 * 16 + 4); }

ProjectorCut cut_of(const ProjectorLaunch& call) {
    ProjectorCut cut{};
    cut.padded = static_cast<int>(ceil_div<std::int64_t>(call.units, kPanel) * kPanel);
    cut.apart = call.units <= 28 ? 7 : call.units <= 40 ? 10 : call.units <= 52 ? 13 : 16;  // 1, 2, 3, 5 blocks a lane
    cut.width = cut.padded < 4 * cut.apart ? 4 * cut.apart : cut.padded;
    const std::int64_t across = cut.padded / kPanel;
    cut.panels = across * (across + 1) / 2 * kPanel * kPanel;
    cut.triangle = call.units * (call.units + 1) / 2;
    cut.square = call.units * call.units;

    const std::int64_t wanted = between(1, ceil_div(call.n, kStripRows), kMostStrips);
    const std::int64_t rows = ceil_div(ceil_div(call.n, wanted), std::int64_t{kLanes}) * kLanes;
    cut.strip_rows = static_cast<int>(rows > 0 ? rows : kLanes);
    cut.strips = static_cast<int>(between(1, ceil_div<std::int64_t>(call.n, cut.strip_rows), kMostStrips));
    const std::int64_t fitting = (kSharedNumbers - cut.panels) / (cut.width * kPitch);
    const std::int64_t most = most_threads(cut.apart) / kLanes;
    cut.warps = static_cast<int>(between(1, fitting, most < cut.strips ? most : cut.strips));
    cut.blocks = ceil_div(cut.strips, cut.warps);

    cut.slab = cut.triangle + call.units + 1;
    cut.pitch = pitch_of((kSharedNumbers - kStaticNumbers - cut.triangle) / call.units);
    cut.slabs = static_cast<int>(between(1, ceil_div(call.n, kSlabTiles * cut.pitch), kMostSlabs));
    cut.slab_rows = static_cast<int>(ceil_div<std::int64_t>(call.n, cut.slabs));
    const std::int64_t by_strips = cut.strips * cut.triangle, by_slabs = cut.slabs * cut.slab;
    cut.stride = 3 * cut.square + (by_strips > by_slabs ? by_strips : by_slabs);
    return cut;
}

void check(const ProjectorLaunch& call) {
    if (call.units < 1 || call.units > kMostUnits)
        throw LaunchError("projector: " + std::to_string(call.units) + " basis functions; this kernel takes 1 to " +
                          std::to_string(kMostUnits) + ", more are for a library's QR");
    if (call.u_is_float && !call.phi_is_float)
        throw LaunchError("projector: phi in double and u in single precision; u needs the precision of phi or more");
    if (!(call.ridge >= 0) || !(call.tolerance >= 0))
        throw LaunchError("projector: ridge " + std::to_string(call.ridge) + ", tolerance " +
                          std::to_string(call.tolerance) + "; both are 0 or more");
}

}  // namespace

std::int64_t projector_workspace(const ProjectorLaunch& call) {
    check(call);
    return call.problems * (cut_of(call).stride * static_cast<std::int64_t>(sizeof(double)) +
                            static_cast<std::int64_t>(sizeof(std::int32_t)));
}

void projector(const ProjectorLaunch& call, Stream stream) {
    check(call);
    if (call.problems == 0) return;
    const ProjectorCut cut = cut_of(call);
    if (!call.gram) launch_gram(call, cut, Round::first, stream);
    launch_factor(call, cut, Round::first, stream);
    launch_gram(call, cut, Round::second, stream);
    launch_factor(call, cut, Round::second, stream);

    launch_householder(call, cut, stream);
    launch_reveal(call, cut, stream);
    launch_basis(call, cut, stream);
    launch_gram(call, cut, Round::basis, stream);
    launch_factor(call, cut, Round::basis, stream);

    launch_write(call, cut, stream);
}

}  // namespace varpro::cuda
