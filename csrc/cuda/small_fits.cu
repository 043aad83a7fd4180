// Small separable problems, each searched to its end by a team of lanes: 8 of a warp, 16 or 32 where the problem is
// large.
//
// Eight, because what follows the sums is algebra on matrices of a few entries, the same few hundred steps for however
// many lanes: four problems a warp share them.  A team goes on to its next problem without waiting for those beside it,
// so that a search of many trials delays nobody.  The lanes make the columns of a chunk of points in shared memory, a
// lane a point; then each takes scalar products of two columns: no sum crosses lanes, so nothing has to be reduced.
// What comes before and after a scalar product is csrc/kernels/small_*.hpp, the CPU's source.
//
// Two decays and an offset at 256 points take 2 passes of 9 and 12 products: 5,400 multiply-adds, 10,800 reads of
// shared memory and, on equidistant points, 256 exponentials an evaluation.
#include <cmath>
#include <limits>
#include <type_traits>

#include "../kernels/small_algebra.hpp"
#include "../kernels/small_columns.hpp"
#include "../kernels/small_search.hpp"
#include "device.cuh"

namespace varpro::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kMostWarps = 4;
constexpr int kBlocks = 4;               // on a multiprocessor: 128 registers a thread, with which nothing spills
constexpr int kChunk = 32;               // points at a time; fewer where shared memory is short
constexpr int kSharedBytes = 48 * 1024;  // what a block has without asking for more
constexpr int kDirect = 32;              // points from which equidistance is looked for
constexpr int kTeams = 32768;            // about what fills a large device: then teams take problems in turn
constexpr int kMostInTurn = 16;
constexpr int kConstants = 3;  // of a column at w
constexpr unsigned kAll = 0xffffffffu;

/// Where a team keeps what, as numbers of doubles from its own begin; computed on the host.
struct Plan {
    int lanes, teams, chunk, width;  // teams of a block; width: a row of the stage, in numbers
    int n_right, n_products, n_sums, n_state;
    int matrices, correction, a, h, gradient, natural, state, constants, stage, numbers;
    int table_bytes;
    std::int64_t in_turn;
};

/// Two columns of the stage whose product is summed.
struct Product {
    unsigned char one, other;
};

__device__ __forceinline__ double number_at(const void* from, bool is_float, std::int64_t at) {
    return is_float ? static_cast<double>(__ldg(static_cast<const float*>(from) + at))
                    : __ldg(static_cast<const double*>(from) + at);
}

/// The products in the order of their sums: right-hand sides, their squares, Phi^T Phi; D^T D, D^T Phi, D^T R, R_q^T
/// R_q. A row of the stage is [Phi | R | D].
__device__ void make_table(const SmallLaunch& call, const Plan& plan, Product* table) {
    const int i = static_cast<int>(call.i), k = static_cast<int>(call.k), m = static_cast<int>(call.m);
    const int r = i, d = i + k, threads = blockDim.x;
    Product* const squares = table + plan.n_right;
    Product* const products = squares + k;
    Product* const pairs = products + plan.n_products;
    Product* const cross = pairs + lower_place(m, 0);
    Product* const moment = cross + m * i;
    const auto product = [](int one, int other) {
        return Product{static_cast<unsigned char>(one), static_cast<unsigned char>(other)};
    };
    for (int j = threadIdx.x; j < i; j += threads) {
        for (int l = 0; l <= j; ++l) products[lower_place(j, l)] = product(j, l);
        for (int q = 0; q < k; ++q) table[q * i + j] = product(r + q, j);
    }
    for (int s = threadIdx.x; s < m; s += threads) {
        for (int u = 0; u <= s; ++u) pairs[lower_place(s, u)] = product(d + s, d + u);
        for (int j = 0; j < i; ++j) cross[s * i + j] = product(d + s, j);
        for (int q = 0; q < k; ++q) moment[s * k + q] = product(d + s, r + q);
    }
    for (int q = threadIdx.x; q < k; q += threads) squares[q] = moment[m * k + q] = product(r + q, r + q);
}

/// A team at work on one problem.
template <typename Real, bool kGiven>
struct Worker {
    const SmallLaunch& call;
    const Plan& plan;
    const Product* table;
    double* own;  // the team's numbers
    WarpTeam team;
    Tiny tiny;
    std::int64_t b, number;  // of the problem, and of its data
    bool active;
    double step;  // of t where it is equidistant to rounding, else 0

    __device__ Worker(const SmallLaunch& call_, const Plan& plan_, unsigned char* shared)
        : call(call_),
          plan(plan_),
          table(reinterpret_cast<const Product*>(shared)),
          own(reinterpret_cast<double*>(shared + plan_.table_bytes) + threadIdx.x / plan_.lanes * plan_.numbers),
          team{static_cast<int>(threadIdx.x) % plan_.lanes, plan_.lanes},
          tiny{},
          b(0),
          number(0),
          active(false),
          step(0.0) {
        tiny.i = static_cast<int>(call.i), tiny.k = static_cast<int>(call.k);
        tiny.m = static_cast<int>(call.m), tiny.p = static_cast<int>(call.p);
        tiny.ridge = call.ridge, tiny.kaufman = call.kaufman;
        tiny.columns = call.columns, tiny.parameters = call.parameters;
        place_sums(tiny, own + plan.n_right + tiny.k);
        place_matrices(tiny, own + plan.matrices);
        tiny.projected = own + plan.stage;  // the stage is free when these are made, and again when they have been used
    }

    __device__ Real* stage() const { return reinterpret_cast<Real*>(own + plan.stage); }
    __device__ double* a() const { return own + plan.a; }
    __device__ State state() const { return State(own + plan.state, tiny.p, tiny.i * tiny.k); }
    __device__ double* state_outside() const { return call.states + (call.rows ? call.rows[b] : b) * call.stride; }

    /// The next problem from number `from` on, `every` apart, that runs.
    __device__ void take(std::int64_t from, std::int64_t every) {
        const int status = plan.n_state - kNumbers;  // the first of the numbers
        for (b = from; b < call.count && state_outside()[status] != 0.0;) b += every;
        active = b < call.count;
        if (!active) return;
        number = call.problems ? __ldg(call.problems + b) : b;
        const double* const outside = state_outside();
        for (int e = team.rank; e < plan.n_state; e += team.size) own[plan.state + e] = outside[e];
    }

    __device__ void put() const {
        double* const outside = state_outside();
        for (int e = team.rank; e < plan.n_state; e += team.size) outside[e] = own[plan.state + e];
    }

    /// step, by all teams of a warp; `fresh` are those whose t is new.
    __device__ void look_at_points(bool fresh) {
        if (kGiven || std::is_same_v<Real, float> || call.n < kDirect || !__any_sync(kAll, fresh)) return;
        const double* const t = call.t + number * call.t_stride;
        double worst = 0.0, length = 0.0, last = 0.0;
        if (fresh) {
            const double first = __ldg(t);
            last = __ldg(t + call.n - 1);
            length = (last - first) / static_cast<double>(call.n - 1);
            for (std::int64_t r = team.rank; r < call.n; r += team.size)
                worst = larger(worst, fabs(__ldg(t + r) - (first + length * static_cast<double>(r))));
            last = larger(fabs(first), fabs(last));
        }
        for (int with = team.size / 2; with > 0; with /= 2) worst = larger(worst, __shfl_xor_sync(kAll, worst, with));
        if (fresh) step = worst <= 4.0 * kEpsilon * last ? length : 0.0;
    }

    /// What the columns need of w.
    __device__ void make_constants() const {
        if (kGiven) return;
        const double* const w = state().trial;
        for (int j = team.rank; j < tiny.i; j += team.size) {
            const ProgramColumn column = call.program[j];
            const double p = column.first < 0 ? 1.0 : w[column.first];
            const double q = column.second < 0 ? 1.0 : w[column.second];
            double* const constant = own + plan.constants + kConstants * j;
            const bool decay = column.kind == ColumnKind::decay, rate = column.kind == ColumnKind::rate;
            constant[0] = decay ? 1.0 / p : p;
            constant[1] = decay ? constant[0] * constant[0] : 1.0 / q;
            if (decay || rate) constant[2] = exp(-static_cast<double>(team.size) * step * constant[0]);
        }
    }

    /// Column j at a point of the stage, and its derivatives.  An exponential on equidistant points is that of the
    /// lane's point before times a factor; the first of a chunk is made directly, so few roundings add up.
    __device__ __forceinline__ void make_value(const ProgramColumn& column, const double* constant, double t,
                                               bool direct, Real& phi, Real& first, Real& second) const {
        switch (column.kind) {
            case ColumnKind::power:
                phi = power(static_cast<Real>(t), column.exponent);
                return;
            case ColumnKind::decay:
                phi = direct ? exp(static_cast<Real>(-t * constant[0])) : phi * static_cast<Real>(constant[2]);
                first = decay_slope(phi, static_cast<Real>(t), static_cast<Real>(constant[1]));
                return;
            case ColumnKind::rate:
                phi = direct ? exp(static_cast<Real>(-t * constant[0])) : phi * static_cast<Real>(constant[2]);
                first = rate_slope(phi, static_cast<Real>(t));
                return;
            case ColumnKind::gaussian: {
                const Real inverse = static_cast<Real>(constant[1]);
                const Real u = static_cast<Real>((t - constant[0]) * constant[1]);
                phi = exp(gaussian_exponent(u));
                first = gaussian_by_centre(phi, u, inverse);
                second = gaussian_by_width(phi, u, inverse);
                return;
            }
            case ColumnKind::lorentzian: {
                const Real inverse = static_cast<Real>(constant[1]);
                const Real u = static_cast<Real>((t - constant[0]) * constant[1]);
                phi = lorentzian(u);
                first = lorentzian_by_centre(phi, u, inverse);
                second = lorentzian_by_width(phi, u, inverse);
                return;
            }
        }
    }

    __device__ __forceinline__ Real weight_at(std::int64_t at) const {
        if (!call.weights) return Real(1);
        return static_cast<Real>(number_at(call.weights, call.y_is_float, number * call.weights_stride + at));
    }

    /// Phi, and D if asked for, of `rows` points from `begin` on, times their weights.
    __device__ void stage_program(std::int64_t begin, int rows, bool with_d) const {
        const double* const t = call.t + number * call.t_stride + begin;
        int next = tiny.i + tiny.k;  // the next column of D
        for (int j = 0; j < tiny.i; ++j) {
            const ProgramColumn column = call.program[j];
            const double* const constant = own + plan.constants + kConstants * j;
            const int first_at = next, second_at = next + 1;
            next += (column.first >= 0) + (column.second >= 0);
            Real phi = Real(0), first = Real(0), second = Real(0);
            for (int r = team.rank; r < rows; r += team.size) {
                make_value(column, constant, __ldg(t + r), step == 0.0 || r < team.size, phi, first, second);
                Real* const row = stage() + r * plan.width;
                const Real weight = weight_at(begin + r);
                row[j] = phi * weight;
                if (with_d && column.first >= 0) row[first_at] = first * weight;
                if (with_d && column.second >= 0) row[second_at] = second * weight;
            }
        }
    }

    /// The same from the caller's arrays.
    __device__ void stage_given(std::int64_t begin, int rows, bool with_d) const {
        for (int r = team.rank; r < rows; r += team.size) {
            Real* const row = stage() + r * plan.width;
            const std::int64_t point = b * call.n + begin + r;
            const Real weight = weight_at(begin + r);
            for (int j = 0; j < tiny.i; ++j)
                row[j] = weight * static_cast<Real>(number_at(call.phi, call.phi_is_float, point * tiny.i + j));
            for (int s = 0; s < (with_d ? tiny.m : 0); ++s)
                row[tiny.i + tiny.k + s] =
                    weight * static_cast<Real>(number_at(call.d, call.phi_is_float, point * tiny.m + s));
        }
    }

    /// R = Y - Phi A of the same points, each by the lane that made the row.
    __device__ void stage_residual(std::int64_t begin, int rows) const {
        const double* const linear = a();
        for (int r = team.rank; r < rows; r += team.size) {
            Real* const row = stage() + r * plan.width;
            const Real weight = weight_at(begin + r);
            const std::int64_t at = number * call.y_stride + (begin + r) * tiny.k;
            for (int q = 0; q < tiny.k; ++q) {
                Real value = weight * static_cast<Real>(number_at(call.y, call.y_is_float, at + q));
                for (int j = 0; j < tiny.i; ++j) value -= row[j] * static_cast<Real>(linear[j * tiny.k + q]);
                row[tiny.i + q] = value;
            }
        }
    }

    /// Sums first..last of the table over all points.
    __device__ void sum_products(int first, int last, bool with_d) const {
        for (std::int64_t begin = 0; begin < call.n; begin += plan.chunk) {
            const int rows = call.n - begin < plan.chunk ? static_cast<int>(call.n - begin) : plan.chunk;
            if (active) {
                if (kGiven)
                    stage_given(begin, rows, with_d);
                else
                    stage_program(begin, rows, with_d);
                stage_residual(begin, rows);
            }
            team.sync();  // the rows are there
            for (int e = first + team.rank; e < last; e += team.size) {
                const Real *one = stage() + table[e].one, *other = stage() + table[e].other;
                Real sum = Real(0);
#pragma unroll 4
                for (int r = 0; r < rows; ++r, one += plan.width, other += plan.width) sum += *one * *other;
                own[e] = (begin == 0 ? 0.0 : own[e]) + static_cast<double>(sum);
            }
            team.sync();  // the rows have been used
        }
    }

    /// a += the solution for what is left of the right-hand sides.
    __device__ void improve(bool wanted) const {
        for (int q = 0; q < tiny.k; ++q) correct(team, tiny, q, own + q * tiny.i, own + plan.correction, a(), wanted);
        team.sync();  // a is there
    }

    /// All that is known at the trial of the state; the cost is told to the first lane.  size: 1/2 |y|^2.
    __device__ Point evaluate(double& size) const {
        constexpr double accurate = std::is_same_v<Real, float> ? 1.0 : kAccurate;
        make_constants();
        for (int e = team.rank; e < tiny.i * tiny.k; e += team.size) a()[e] = 0.0;
        team.sync();  // the constants and a are there
        sum_products(0, plan.n_right + tiny.k + plan.n_products, false);
        size = 0.0;  // R is Y as yet
        for (int q = 0; q < tiny.k; ++q) size += 0.5 * own[plan.n_right + q];
        Point point{a(), own + plan.h, own + plan.gradient, own + plan.natural, 0.0, invert_gram(team, tiny),
                    0.0, true};
        const bool rough = active && !(point.condition < accurate), again = __any_sync(kAll, rough);
        improve(true);
        if (again) {
            sum_products(0, plan.n_right, false);
            improve(rough);
        }
        sum_products(plan.n_right + tiny.k + plan.n_products, plan.n_sums, true);
        for (int s = team.rank; s < tiny.m; s += team.size) tiny.squares[s] = tiny.pairs[lower_place(s, s)];
        assemble_normal(team, tiny, a(), point.h, point.gradient);
        const double* const squares = own + plan.n_sums - tiny.k;
        for (int q = 0; q < tiny.k; ++q) point.cost += squares[q];
        for (int e = 0; e < tiny.i * tiny.k; ++e) point.cost += tiny.ridge * a()[e] * a()[e];
        point.cost *= 0.5;
        double basis = 0.0;
        for (int j = 0; j < tiny.i; ++j) basis += tiny.products[lower_place(j, j)];
        point.finite = is_finite(basis);
        point.terms = size_of_terms(tiny, a());
        if (!keeps_digits(tiny)) point.condition = kInfinite;
        if (team.rank == 0) natural_scales(tiny, point.natural);
        team.sync();  // h and the gradient are there, and the projected columns have been used
        return point;
    }

    /// One trial.
    __device__ void advance() const {
        double size = 0.0;
        const Point point = evaluate(size);
        if (team.rank != 0 || !active) return;
        double* const scratch = own + plan.stage;
        const int p = tiny.p;
        const Search search{call.rules, p, tiny.i * tiny.k, scratch, scratch + p * p, p};
        search.advance(point, size, state());
    }
};

/// kGiven: one trial of each problem; else searches to their ends.
template <typename Real, bool kGiven>
__global__ void __launch_bounds__(kMostWarps* kWarp, kBlocks) small_fits_kernel(SmallLaunch call, Plan plan) {
    VARPRO_DYNAMIC_SHARED(unsigned char, shared);
    make_table(call, plan, reinterpret_cast<Product*>(shared));
    __syncthreads();  // the table is there
    Worker<Real, kGiven> worker(call, plan, shared);
    const std::int64_t every = static_cast<std::int64_t>(gridDim.x) * plan.teams;
    worker.take(static_cast<std::int64_t>(blockIdx.x) * plan.teams + threadIdx.x / plan.lanes, every);
    bool fresh = worker.active;
    while (__any_sync(kAll, worker.active)) {
        worker.team.sync();  // the state is there (a vote orders no memory)
        worker.look_at_points(fresh);
        worker.advance();
        worker.team.sync();  // the state has moved
        const bool done = worker.active && (kGiven || !worker.state().running());
        worker.team.sync();  // every lane knows whether it is done
        if (done) {
            worker.put();
            worker.take(worker.b + every, every);
        }
        fresh = done && worker.active && call.t_stride != 0;
    }
}

/// States of a search in single precision made ready for one in double: from where it ended, and with its damping if
/// that was a minimum.
__global__ void __launch_bounds__(kMostWarps* kWarp) resume_kernel(SmallLaunch call) {
    const std::int64_t b = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (b >= call.count) return;
    const int p = static_cast<int>(call.p);
    const State s(call.states + (call.rows ? call.rows[b] : b) * call.stride, p, static_cast<int>(call.i * call.k));
    SearchNumbers& numbers = *s.numbers;
    const auto status = static_cast<SearchStatus>(static_cast<std::int64_t>(numbers.status));
    if (numbers.growth != 0.0) copy_numbers(s.w, p, s.trial);
    if (status != SearchStatus::cost && status != SearchStatus::step && status != SearchStatus::gradient)
        numbers.damping = 0.0;
    numbers.growth = numbers.status = 0.0;
}

int larger_of(int a, int b) { return a < b ? b : a; }

/// A plan of no teams where not even one fits into a block.
template <typename Real>
Plan plan_of(const SmallLaunch& call, int lanes, int chunk) {
    Tiny s{};
    s.i = static_cast<int>(call.i), s.k = static_cast<int>(call.k);
    s.m = static_cast<int>(call.m), s.p = static_cast<int>(call.p);
    Plan plan{};
    plan.lanes = lanes, plan.chunk = chunk;
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
    plan.numbers = plan.stage + larger_of(staged, larger_of(s.m * s.i, s.p * (s.p + 1)));
    plan.table_bytes = ceil_div<int>(plan.n_sums * static_cast<int>(sizeof(Product)), 16) * 16;
    const int a_warp = kWarp / lanes, each = plan.numbers * static_cast<int>(sizeof(double));
    const int warps = (kSharedBytes - plan.table_bytes) / (each * a_warp);
    plan.teams = a_warp * (warps < kMostWarps ? warps : kMostWarps);
    return plan;
}

/// The fewest lanes a problem with which a block fits, and the largest chunk.
template <typename Real>
Plan plan_of(const SmallLaunch& call) {
    Plan plan{};
    for (int lanes = 8; lanes <= kWarp && plan.teams == 0; lanes *= 2) plan = plan_of<Real>(call, lanes, kChunk);
    for (int chunk = kChunk / 2; chunk >= 8 && plan.teams == 0; chunk /= 2) plan = plan_of<Real>(call, kWarp, chunk);
    const std::int64_t chosen = call.count / kTeams + 1;
    plan.in_turn = call.in_turn > 0 ? call.in_turn : chosen < kMostInTurn ? chosen : kMostInTurn;
    return plan;
}

template <typename Real, bool kGiven>
void launch_small(const char* name, const SmallLaunch& call, Stream stream) {
    const Plan plan = plan_of<Real>(call);
    const std::int64_t blocks = ceil_div<std::int64_t>(call.count, plan.teams * plan.in_turn);
    const int bytes = plan.table_bytes + plan.teams * plan.numbers * static_cast<int>(sizeof(double));
    auto* const kernel = small_fits_kernel<Real, kGiven>;
    VARPRO_LAUNCH(kernel, dim3(static_cast<unsigned>(blocks)), dim3(plan.teams * plan.lanes), bytes, stream, call,
                  plan);
    check_launch(name);
}

void require_small(const char* name, const SmallLaunch& call) {
    if (call.n >= 1 && call.i >= 1 && call.i <= 16 && call.k >= 1 && call.k <= 8 && call.m >= 1 && call.m <= 48 &&
        call.p >= 1 && call.p <= 16)
        return;
    throw LaunchError(std::string(name) + ": n " + std::to_string(call.n) + ", i " + std::to_string(call.i) + ", k " +
                      std::to_string(call.k) + ", m " + std::to_string(call.m) + ", p " + std::to_string(call.p) +
                      "; each from 1, and i to 16, k to 8, m to 48, p to 16");
}

/// No finer than what sums of float values tell.
SearchRules in_single(SearchRules rules) {
    constexpr double eps = std::numeric_limits<float>::epsilon();
    rules.cost_tolerance = larger(rules.cost_tolerance, 16.0 * eps);
    rules.step_tolerance = larger(rules.step_tolerance, eps);
    rules.gradient_tolerance = larger(rules.gradient_tolerance, eps);
    rules.rounding = larger(rules.rounding, 16.0 * eps);
    rules.undamped = larger(rules.undamped, 1e-3);  // about the root of eps: less is lost in the rounding of H
    if (rules.condition_limit > 1e5) rules.condition_limit = 1e5;
    return rules;
}

}  // namespace

void small_searches(const SmallLaunch& call, Arithmetic arithmetic, Stream stream) {
    require_small("small_searches", call);
    if (call.count == 0) return;
    if (arithmetic != Arithmetic::full) {
        SmallLaunch single = call;
        single.rules = in_single(call.rules);
        launch_small<float, false>("small_searches", single, stream);
        if (arithmetic == Arithmetic::single) return;
        constexpr int threads = kMostWarps * kWarp;
        const auto blocks = static_cast<unsigned>(ceil_div<std::int64_t>(call.count, threads));
        VARPRO_LAUNCH(resume_kernel, dim3(blocks), dim3(threads), 0, stream, call);
        check_launch("small_searches");
    }
    launch_small<double, false>("small_searches", call, stream);
}

void small_advance(const SmallLaunch& call, Stream stream) {
    require_small("small_advance", call);
    if (call.count == 0) return;
    launch_small<double, true>("small_advance", call, stream);
}

}  // namespace varpro::cuda
