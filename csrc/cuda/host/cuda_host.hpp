/// CUDA on a CPU, for tests: a kernel's source compiles with g++ and runs with every thread of a block as a fiber.
///
/// A fiber runs until it meets a barrier or returns; then the scheduler takes the next one, in an order that the test
/// chooses.  Blocks run one after another, also in a chosen order.  Both kinds of shared memory are filled with a
/// pattern before each block.  Threads of a block that wait at different lines, or wait for a thread that has returned,
/// are an error. Not seen: the memory model (a missing fence), races between blocks, bank conflicts, time.
///
/// Kernels stand in an unnamed namespace (a static __shared__ array must be local to its file to lie in the section
/// that is filled), sizes of dynamic shared memory are exact, and warp functions are called by whole warps.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

/// Where the running fiber stands; set before it goes on.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_host {

/// What a test chooses.  order: 0 forward, 1 backward, else the seed of a random order, drawn anew after each barrier.
/// With an odd seed (3, 5, ...) a warp runs ahead of the others as far as its own barriers let it, with an even one
/// some are held back. dropped: "file:line" of a barrier to leave out, or empty.
struct Settings {
    unsigned order = 0;
    std::string dropped;
};
inline Settings settings;

/// Threads of a block did not meet at one barrier.
struct Divergence : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& thread);
void* dynamic_shared();
void block_barrier(const char* file, int line);
void warp_barrier(const char* file, int line);
/// Deposits `value` and waits for the warp.  What its lanes have deposited can be read until the exchange after the
/// next; null for a lane that the block does not have.
void put_down(const char* file, int line, const void* value, std::size_t bytes);
const void* put_down_by(unsigned lane);
/// The value that lane `from` has deposited, or the lane's own if there is none.
void exchange(const char* file, int line, void* value, std::size_t bytes, unsigned from);
unsigned lane();

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, Arguments... arguments) {
    run_grid(grid, block, shared_bytes, [&] { kernel(arguments...); });
}

template <typename T>
T shuffle(const char* file, int line, T value, unsigned from) {
    exchange(file, line, &value, sizeof(T), from);
    return value;
}

/// A mask with a bit for each lane of the warp that says yes.
inline unsigned ballot(const char* file, int line, bool yes) {
    put_down(file, line, &yes, sizeof yes);
    unsigned bits = 0;
    for (unsigned of = 0; of < 32; ++of) {
        const void* const held = put_down_by(of);
        if (held && *static_cast<const bool*>(held)) bits |= 1u << of;
    }
    return bits;
}

}  // namespace cuda_host

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("varpro_shared")))
#define __syncthreads() cuda_host::block_barrier(__FILE__, __LINE__)
#define __syncwarp() cuda_host::warp_barrier(__FILE__, __LINE__)
#define __shfl_sync(mask, value, from) cuda_host::shuffle(__FILE__, __LINE__, value, from)
#define __shfl_xor_sync(mask, value, with) cuda_host::shuffle(__FILE__, __LINE__, value, cuda_host::lane() ^ (with))
#define __shfl_down_sync(mask, value, by) cuda_host::shuffle(__FILE__, __LINE__, value, cuda_host::lane() + (by))
#define __ballot_sync(mask, yes) cuda_host::ballot(__FILE__, __LINE__, yes)
#define __any_sync(mask, yes) (cuda_host::ballot(__FILE__, __LINE__, yes) != 0)
#define __popc(bits) __builtin_popcount(bits)

template <typename T>
T __ldg(const T* at) {
    return *at;
}
