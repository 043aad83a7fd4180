// Small kernels with and without mistakes, to test the shim itself.
#include <stdexcept>
#include <string>

#include "../../csrc/cuda/device.cuh"

namespace {

constexpr int kThreads = 96;

/// out[t] = sum over the warp of its lanes' numbers, by exchange, plus what lane 0 holds.
__global__ void warp_sums(int* out) {
    int sum = threadIdx.x;
    for (int with = 16; with > 0; with /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, with);
    const int down = __shfl_down_sync(0xffffffffu, static_cast<int>(threadIdx.x), 1);
    const int first = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x), 0);
    out[threadIdx.x] = sum * 10000 + first * 100 + (down - static_cast<int>(threadIdx.x));
}

/// A bit for each lane of the warp whose thread is a multiple of three, then for each that holds itself for the last.
__global__ void warp_votes(int* out) {
    const unsigned thirds = __ballot_sync(0xffffffffu, threadIdx.x % 3 == 0);
    const unsigned last = __ballot_sync(0xffffffffu, threadIdx.x % 32 == 31);
    out[threadIdx.x] = static_cast<int>(thirds ^ last) + __popc(thirds);
}

/// Neighbours of a warp exchange by shared memory with no more than a barrier of the warp between.
__global__ void warp_neighbours(int* out) {
    __shared__ int held[kThreads];
    const int t = threadIdx.x;
    held[t] = t;
    __syncwarp();
    out[t] = held[t ^ 1];
}

/// As above across warps, which needs the barrier of the block.
__global__ void block_reversal(int* out) {
    VARPRO_DYNAMIC_SHARED(int, held);
    const int t = threadIdx.x;
    held[t] = t;
    __syncthreads();
    out[t] = held[kThreads - 1 - t];
}

/// Reads static and dynamic shared memory that nobody has written; a later block must not see what an earlier one
/// wrote.
__global__ void reads_unwritten(int* out) {
    __shared__ int fixed[kThreads];
    VARPRO_DYNAMIC_SHARED(int, sized);
    out[2 * kThreads * blockIdx.x + threadIdx.x] = fixed[threadIdx.x];
    out[2 * kThreads * blockIdx.x + kThreads + threadIdx.x] = sized[threadIdx.x];
    fixed[threadIdx.x] = sized[threadIdx.x] = 1;
}

/// out[y][x] of a block of two dimensions on a grid of two.
__global__ void coordinates(int* out) {
    const int block = blockIdx.y * gridDim.x + blockIdx.x, thread = threadIdx.y * blockDim.x + threadIdx.x;
    out[block * kThreads + thread] = blockIdx.y * 1000000 + blockIdx.x * 10000 + threadIdx.y * 100 + threadIdx.x;
}

__global__ void returns_early(int* out) {
    if (threadIdx.x == 5) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

__global__ void waits_at_two_places(int* out) {
    if (threadIdx.x < 32) {
        __syncthreads();
        out[threadIdx.x] = 1;
    } else {
        __syncthreads();
        out[threadIdx.x] = 2;
    }
}

__global__ void part_of_a_warp_shuffles(int* out) {
    if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_xor_sync(0xffffu, static_cast<int>(threadIdx.x), 1);
}

__global__ void past_dynamic(int* out) {
    VARPRO_DYNAMIC_SHARED(int, held);
    held[threadIdx.x + 1] = 1;
    out[threadIdx.x] = 1;
}

__global__ void past_static(int* out) {
    __shared__ int held[kThreads];
    held[threadIdx.x + 1] = 1;
    out[threadIdx.x] = held[threadIdx.x];
}

__global__ void past_global(int* out) { out[threadIdx.x + 1] = 1; }

}  // namespace

void run_shim_kernel(const std::string& name, int* out, std::size_t count) {
    const std::size_t bytes = name == "too_large" ? 48 * 1024 + 1 : kThreads * sizeof(int);
    void (*kernel)(int*) = name == "warp_sums"                 ? warp_sums
                           : name == "warp_votes"              ? warp_votes
                           : name == "warp_neighbours"         ? warp_neighbours
                           : name == "block_reversal"          ? block_reversal
                           : name == "reads_unwritten"         ? reads_unwritten
                           : name == "coordinates"             ? coordinates
                           : name == "returns_early"           ? returns_early
                           : name == "waits_at_two_places"     ? waits_at_two_places
                           : name == "part_of_a_warp_shuffles" ? part_of_a_warp_shuffles
                           : name == "past_dynamic"            ? past_dynamic
                           : name == "past_static"             ? past_static
                           : name == "past_global"             ? past_global
                           : name == "too_large"               ? past_global
                                                               : nullptr;
    if (!kernel) throw std::invalid_argument("no kernel named " + name);
    const bool flat = name != "coordinates";
    const dim3 grid = flat ? dim3(name == "reads_unwritten" ? count / (2 * kThreads) : 1) : dim3(3, 2);
    const dim3 block = flat ? dim3(kThreads) : dim3(12, 8);
    VARPRO_LAUNCH(kernel, grid, block, bytes, nullptr, out);
}
