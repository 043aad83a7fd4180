// Small separable problems, each searched to its end by a team of lanes: 8 of a warp, 16 or 32 where the problem is
// large.
//
// There are eight because what follows the sums is algebra on matrices of a few entries, the same few hundred steps for
// any number of lanes: the four problems of a warp share them.  A team goes on to its next problem without waiting for
// those beside it, so that a search of many trials delays no other.  The lanes compute the columns of a chunk of points
// in shared memory, one point per lane; then each takes scalar products of two columns: no sum crosses lanes, so
// nothing has to be reduced.  What comes before and after a scalar product is csrc/kernels/small_fits_*.hpp, the CPU's
// source.
//
// Two decays and an offset at 256 points take 2 passes of 9 and 12 products: 5,400 multiply-adds, 10,800 reads of
// shared memory and, on equidistant points, 256 exponentials per evaluation.
#include <limits>

#include "small_fits_worker.cuh"

namespace varpro::cuda {
namespace {

/// kGiven: one trial of each problem; else searches to their ends.  kBoxed: within the box of the call.
template <typename Real, bool kGiven, bool kBoxed>
__global__ void __launch_bounds__(kMostWarps* kWarp, kBlocks) small_fits_kernel(SmallLaunch call, Plan plan) {
    VARPRO_DYNAMIC_SHARED(unsigned char, shared);
    make_table(call, plan, reinterpret_cast<Product*>(shared));
    __syncthreads();  // the table is ready
    Worker<Real, kGiven, kBoxed> worker(call, plan, shared);
    const std::int64_t every = static_cast<std::int64_t>(gridDim.x) * plan.teams;
    worker.take(static_cast<std::int64_t>(blockIdx.x) * plan.teams + threadIdx.x / plan.lanes, every);
    bool fresh = worker.active;
    while (__any_sync(kAll, worker.active)) {
        worker.team.sync();  // the state is ready (a vote orders no memory)
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

/// Prepares the states of a search in single precision for one in double: from where it ended, and with its damping if
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

template <typename Real, bool kGiven>
void launch_small(const char* name, const SmallLaunch& call, Stream stream) {
    const Plan plan = plan_of<Real>(call);
    const std::int64_t blocks = ceil_div<std::int64_t>(call.count, plan.teams * plan.in_turn);
    const int bytes = plan.table_bytes + plan.teams * plan.numbers * static_cast<int>(sizeof(double));
    auto* const kernel =
        call.box.lower ? small_fits_kernel<Real, kGiven, true> : small_fits_kernel<Real, kGiven, false>;
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

/// No finer than what sums of float values can resolve.
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

void small_searches(const SmallLaunch& call, Stream stream) {
    require_small("small_searches", call);
    if (call.count == 0) return;
    if (call.arithmetic != Arithmetic::full) {
        SmallLaunch single = call;
        single.rules = in_single(call.rules);
        launch_small<float, false>("small_searches", single, stream);
        if (call.arithmetic == Arithmetic::single) return;
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
