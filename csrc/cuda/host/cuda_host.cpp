// The scheduler: fibers of one block until all have returned, block after block.
#include "cuda_host.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "fiber.hpp"

// Both ends of the section that holds the static __shared__ arrays; null where no kernel has one.
extern "C" char __start_varpro_shared[] __attribute__((weak));
extern "C" char __stop_varpro_shared[] __attribute__((weak));

namespace cuda_host {
namespace {

constexpr int kPattern = 0xCB;  // a large number, as a float and as a double, so that it shows in a sum
constexpr unsigned kWarp = 32;
constexpr std::size_t kSlot = 64;
constexpr std::size_t kSharedBytes = 48 * 1024;  // without opting in to more
constexpr unsigned kMostThreads = 1024;

enum class State { ready, at_warp, at_block, returned };

struct Thread {
    Fiber fiber;
    State state = State::ready;
    const char* file = "";
    int line = 0;
    dim3 index;
    unsigned number = 0, exchanges = 0;
    alignas(
        16) unsigned char slots[2][kSlot];  // two: who has met the next exchange is done with the one before the last
};

std::vector<std::unique_ptr<Thread>> threads;
unsigned count = 0;  // threads of the block
Thread* running = nullptr;
const std::function<void()>* body = nullptr;
std::unique_ptr<unsigned char[]> dynamic;

void thread_main() {
    running->fiber.arrived();
    (*body)();
    running->state = State::returned;
    running->fiber.pause(true);
}

void go_on(Thread& thread) {
    running = &thread;
    threadIdx = thread.index;
    thread.fiber.resume();
}

void wait(State state, const char* file, int line) {
    Thread& self = *running;
    self.state = state;
    self.file = file;
    self.line = line;
    self.fiber.pause(false);
}

std::string place(const char* file, int line) {
    const std::string_view path = file;
    return std::string(path.substr(path.find_last_of('/') + 1)) + ":" + std::to_string(line);
}

bool is_dropped(const char* file, int line) {
    return !settings.dropped.empty() && settings.dropped == place(file, line);
}

bool together(const Thread& a, const Thread& b) {
    return a.state == b.state && a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

/// Lets threads first..last go on if they have all met at one barrier of this kind.
bool release(State kind, unsigned first, unsigned last) {
    if (threads[first]->state != kind) return false;
    for (unsigned t = first; t < last; ++t)
        if (!together(*threads[t], *threads[first])) return false;
    for (unsigned t = first; t < last; ++t) threads[t]->state = State::ready;
    return true;
}

bool release_all() {
    bool any = release(State::at_block, 0, count);
    for (unsigned first = 0; first < count; first += kWarp)
        any = release(State::at_warp, first, std::min(first + kWarp, count)) || any;
    return any;
}

std::string describe(const Thread& t) {
    const std::string name = "thread " + std::to_string(t.number);
    if (t.state == State::returned) return name + " has returned";
    return name + " waits at " + place(t.file, t.line) + (t.state == State::at_warp ? " for its warp" : "");
}

[[noreturn]] void report() {
    const Thread* waiting = nullptr;
    for (unsigned t = 0; t < count && !waiting; ++t)
        if (threads[t]->state != State::returned) waiting = threads[t].get();
    for (unsigned t = 0; t < count; ++t)
        if (!together(*threads[t], *waiting))
            throw Divergence("divergent barrier: " + describe(*waiting) + ", " + describe(*threads[t]));
    throw Divergence("divergent barrier: " + describe(*waiting));
}

/// Numbers 0..n-1 in the chosen order.
std::vector<unsigned> ordered(unsigned n, std::mt19937& random) {
    std::vector<unsigned> order(n);
    std::iota(order.begin(), order.end(), 0u);
    if (settings.order == 1) std::reverse(order.begin(), order.end());
    if (settings.order > 1) std::shuffle(order.begin(), order.end(), random);
    return order;
}

void prepare(std::size_t shared_bytes) {
    if (__start_varpro_shared)
        std::memset(__start_varpro_shared, kPattern, __stop_varpro_shared - __start_varpro_shared);
    if (shared_bytes > 0) std::memset(dynamic.get(), kPattern, shared_bytes);
    for (unsigned t = 0; t < count; ++t) {
        Thread& thread = *threads[t];
        thread.state = State::ready;
        thread.number = t;
        thread.exchanges = 0;
        thread.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
        thread.fiber.begin(thread_main);
    }
}

/// In even random orders some warps are held back for a while (one bit for each of the 32 that a block has at most):
/// without that, the warps' own barriers would keep a block together.
struct Held {
    std::uint_fast32_t warps = 0, sweeps = 0;

    void next(std::mt19937& random) {
        if (settings.order < 2 || settings.order % 2 == 1 || sweeps-- > 0) return;
        warps = random(), sweeps = random() % 64;
    }
    bool has(unsigned thread) const { return warps >> thread / kWarp & 1; }
};

/// Every thread up to its next barrier; in odd random orders a warp whose lanes have met goes on as far as it can.
void run_ready(std::mt19937& random, const Held& held) {
    const bool warps_run_ahead = settings.order > 2 && settings.order % 2 == 1;
    const auto order = ordered(count, random);
    for (const unsigned t : order) {
        if (threads[t]->state == State::ready && !held.has(t)) go_on(*threads[t]);
        const unsigned first = t / kWarp * kWarp, last = std::min(first + kWarp, count);
        while (warps_run_ahead && release(State::at_warp, first, last))
            for (const unsigned lane : order)
                if (lane / kWarp == t / kWarp && threads[lane]->state == State::ready) go_on(*threads[lane]);
    }
}

bool all_are(State state) {
    return std::all_of(threads.begin(), threads.begin() + count, [&](const auto& t) { return t->state == state; });
}

bool any_is(State state) {
    return std::any_of(threads.begin(), threads.begin() + count, [&](const auto& t) { return t->state == state; });
}

void run_block(std::mt19937& random) {
    Held held;
    for (;;) {
        held.next(random);
        run_ready(random, held);
        if (release_all() || any_is(State::ready)) continue;
        if (all_are(State::returned)) return;
        report();
    }
}

}  // namespace

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& thread) {
    if (shared_bytes > kSharedBytes || block.x * block.y * block.z > kMostThreads)
        throw std::length_error("a block takes " + std::to_string(kSharedBytes) + " bytes and " +
                                std::to_string(kMostThreads) + " threads at most");
    std::mt19937 random(settings.order);
    gridDim = grid;
    blockDim = block;
    count = block.x * block.y * block.z;
    body = &thread;
    dynamic = std::make_unique_for_overwrite<unsigned char[]>(shared_bytes);
    while (threads.size() < count) threads.push_back(std::make_unique<Thread>());
    for (const unsigned b : ordered(grid.x * grid.y * grid.z, random)) {
        blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        prepare(shared_bytes);
        run_block(random);
    }
}

void* dynamic_shared() { return dynamic.get(); }

unsigned lane() { return running->number % kWarp; }

void block_barrier(const char* file, int line) {
    if (!is_dropped(file, line)) wait(State::at_block, file, line);
}

void warp_barrier(const char* file, int line) {
    if (!is_dropped(file, line)) wait(State::at_warp, file, line);
}

void put_down(const char* file, int line, const void* value, std::size_t bytes) {
    if (bytes > kSlot) throw std::length_error("an exchange carries 64 bytes a lane at most");
    Thread& self = *running;
    std::memcpy(self.slots[self.exchanges++ % 2], value, bytes);
    wait(State::at_warp, file, line);
}

const void* put_down_by(unsigned lane) {
    const unsigned thread = running->number / kWarp * kWarp + lane;
    return lane < kWarp && thread < count ? threads[thread]->slots[(running->exchanges - 1) % 2] : nullptr;
}

void exchange(const char* file, int line, void* value, std::size_t bytes, unsigned from) {
    put_down(file, line, value, bytes);
    if (const void* other = put_down_by(from)) std::memcpy(value, other, bytes);
}

}  // namespace cuda_host
