/// How small fits divide their work: how many lanes share a problem, and where they keep what in shared memory.
#pragma once

#include "../kernels/small_fits_algebra.hpp"
#include "../kernels/small_fits_search.hpp"
#include "device.cuh"

namespace varpro::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kMostWarps = 4;
constexpr int kBlocks = 4;     // on a multiprocessor: 128 registers per thread, with which nothing spills
constexpr int kChunk = 32;     // points at a time; fewer where shared memory is short
constexpr int kDirect = 32;    // points: from this many on, equidistance is tested for
constexpr int kTeams = 32768;  // about as many as fill a large device: with more, teams take problems in turn
constexpr int kMostInTurn = 16;
constexpr int kConstants = 5;  // of a column at w
constexpr unsigned kAll = 0xffffffffu;

/// Where a team keeps what, as offsets in doubles from the team's first; computed on the host.
struct Plan {
    int lanes, teams, chunk, width;  // teams of a block; width: a row of the stage, in numbers
    int columns;                     // of the program
    std::int64_t points;             // of t
    int n_right, n_products, n_sums, n_state;
    int matrices, correction, a, h, gradient, natural, state, constants, stage, numbers;
    int table_bytes;
    std::int64_t in_turn;
};

/// Two columns of the stage whose product is summed.
struct Product {
    unsigned char one, other;
};

inline int larger_of(int a, int b) { return a < b ? b : a; }

/// A plan without teams if not even one fits into a block.
template <typename Real>
Plan plan_of(const SmallLaunch& call, int lanes, int chunk) {
    Tiny s{};
    s.i = static_cast<int>(call.i), s.k = static_cast<int>(call.k);
    s.m = static_cast<int>(call.m), s.p = static_cast<int>(call.p);
    Plan plan{};
    plan.lanes = lanes, plan.chunk = chunk;
    plan.columns = s.i / static_cast<int>(call.parts), plan.points = call.n / call.parts;
    plan.width = (s.i + s.k + s.m) | 1;  // odd: lanes that write rows beside each other meet different banks
    plan.n_right = s.i * s.k, plan.n_products = lower_place(s.i, 0);
    plan.n_sums = plan.n_right + s.k + count_sums(s) + s.k;
    plan.n_state = state_length(s.p, s.i * s.k);
    plan.matrices = plan.n_sums;
    plan.correction = plan.matrices + count_matrices(s);
    plan.a = plan.correction + s.i;
    plan.h = plan.a + s.i * s.k;
    plan.gradient = plan.h + s.p * s.p;
    plan.natural = plan.gradient + s.p;
    plan.state = plan.natural + s.p;
    plan.constants = plan.state + plan.n_state;
    plan.stage = plan.constants + kConstants * s.i;
    const int staged = ceil_div<int>(chunk * plan.width * static_cast<int>(sizeof(Real)), sizeof(double));
    const int searching = s.p * (s.p + 1) + (call.box.lower ? box_numbers(s.p) : 0);
    plan.numbers = plan.stage + larger_of(staged, larger_of(s.m * s.i, searching));
    plan.table_bytes = ceil_div<int>(plan.n_sums * static_cast<int>(sizeof(Product)), 16) * 16;
    const int a_warp = kWarp / lanes, each = plan.numbers * static_cast<int>(sizeof(double));
    const int warps = (kSharedBytes - plan.table_bytes) / (each * a_warp);
    plan.teams = a_warp * (warps < kMostWarps ? warps : kMostWarps);
    return plan;
}

/// The fewest lanes per problem with which a block fits, and the largest chunk.
template <typename Real>
Plan plan_of(const SmallLaunch& call) {
    Plan plan{};
    for (int lanes = 8; lanes <= kWarp && plan.teams == 0; lanes *= 2) plan = plan_of<Real>(call, lanes, kChunk);
    for (int chunk = kChunk / 2; chunk >= 8 && plan.teams == 0; chunk /= 2) plan = plan_of<Real>(call, kWarp, chunk);
    const std::int64_t chosen = call.count / kTeams + 1;
    plan.in_turn = call.in_turn > 0 ? call.in_turn : chosen < kMostInTurn ? chosen : kMostInTurn;
    return plan;
}

}  // namespace
}  // namespace varpro::cuda
