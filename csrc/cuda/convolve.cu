// Convolutional units: values, D, the change along a direction, and the contraction with weights per cell.
//
// A block has one row of cells of an image and four filters, except that a contraction goes through the images of its
// part.  All but the values make the sums of D in shared memory: the tangent then takes them times dw, which is dearer
// than the CPU's direct sum, and the contraction sums slopes that were weighed before.  Arithmetic is the limit.
#include "convolve.cuh"

namespace varpro::cuda {
namespace {

constexpr std::int64_t kImagesPerPart = 64;  // of a contraction: few parts, each with enough to do

enum class Kind { values, jacobian, tangent, contract };

/// Values or slopes of a strip from row `place` of places on, into bench.q.  weights: of the cells, for a contraction.
template <typename Real, Kind kind>
__device__ __forceinline__ void make_forms(const Bench<Real>& bench, std::int64_t image, int place, int rows,
                                           const Real* weights, Real mean) {
    const ConvolveCall& c = bench.c;
    const int terms = static_cast<int>(c.terms), width = bench.cut.across * kFilters;
    const int cells = static_cast<int>(c.cells());
    const int first_cell = place / bench.cut.cell_rows * static_cast<int>(c.cells_across);  // of the row
    bench.load_pixels(image, place);
    __syncthreads();  // the pixels, and the table, are there
    for (int t = 0; t < terms; ++t) {
        bench.convolve_rows(t, -1);
        __syncthreads();  // rows with v are ready
        bench.convolve_columns(t, t == 0, true, bench.q, [&](int e, Real q) {
            if (t + 1 < terms) return q;
            const Squashed<Real> at = squashed(c.squash, static_cast<Real>(c.smoothing), q);
            if (kind == Kind::values) return at.value;
            if (kind != Kind::contract) return at.slope;
            const int f = e % kFilters, cell = first_cell + e % width / kFilters / bench.cut.cell_columns;
            if (f >= bench.here || e / width >= rows) return Real(0);
            return at.slope * mean * __ldg(weights + f * cells + cell);
        });
        if (t + 1 < terms) __syncthreads();  // they have been used
    }
}

/// The strip's part of the sums of D: of the last term first, whose rows with v are still there.
template <typename Real>
__device__ __forceinline__ void add_derivatives(const Bench<Real>& bench, bool start, int rows) {
    const ConvolveCall& c = bench.c;
    const int terms = static_cast<int>(c.terms);
    for (int t = terms - 1; t >= 0; --t) {
        if (t < terms - 1) {
            __syncthreads();  // the sums of the term before have been made
            bench.convolve_rows(t, -1);
        }
        bench.cross(t);
        __syncthreads();  // slopes, rows with v and columns with u are ready
        bench.add_term(start, t, rows);
    }
    for (int p = 0; p < (c.mixed ? static_cast<int>(c.planes) : 0); ++p) {
        for (int t = 0; t < terms; ++t) {
            __syncthreads();  // what was made for the sums before has been used
            bench.convolve_rows(t, p);
            __syncthreads();  // rows of the plane with v are ready
            bench.convolve_columns(t, t == 0, false, bench.crossed, [](int, Real z) { return z; });
        }
        __syncthreads();  // the forms of the plane are ready
        bench.add_plane(start, p, rows);
    }
}

/// phi, d, slope or totals of a row of cells from the sums of its strips; out: of the image and the first filter.
template <typename Real, Kind kind>
__device__ __forceinline__ void finish(const Bench<Real>& bench, int cell_row, Real mean, const Real* along, Real* out,
                                       double* totals) {
    const Cut& cut = bench.cut;
    const int cells = static_cast<int>(bench.c.cells()), cells_across = static_cast<int>(bench.c.cells_across);
    const std::int64_t filters = bench.c.filters;
    if (kind == Kind::values || kind == Kind::tangent) {
        for (int e = threadIdx.x; e < cells_across * kFilters; e += kThreads) {
            const int f = e % kFilters, cell = e / kFilters;
            if (f >= bench.here) continue;
            Real sum = 0;
            if (kind == Kind::values)
                for (int x = cell * cut.cell_columns; x < (cell + 1) * cut.cell_columns; ++x)
                    sum += bench.sums[x * kFilters + f];
            else
                for (int row = 0; row < cut.rows; ++row)
                    sum += bench.sums[(cell * cut.rows + row) * kFilters + f] * __ldg(along + row * filters + f);
            out[f * cells + cell_row * cells_across + cell] = sum * mean;
        }
    } else if (kind == Kind::jacobian) {
        for (int e = threadIdx.x; e < cells_across * cut.rows * kFilters; e += kThreads)
            if (e % kFilters < bench.here)
                out[(cell_row * cells_across * cut.rows + e / kFilters) * filters + e % kFilters] =
                    bench.sums[e] * mean;
    } else {
        for (int e = threadIdx.x; e < cut.rows * kFilters; e += kThreads)
            for (int cell = 0; cell < cells_across; ++cell)
                totals[e] += static_cast<double>(bench.sums[cell * cut.rows * kFilters + e]);
    }
}

/// One row of cells of an image.
template <typename Real, Kind kind>
__device__ __forceinline__ void row_of_cells(const Bench<Real>& bench, std::int64_t image, int cell_row,
                                             const Real* weights, const Real* along, Real* out, double* totals) {
    const Cut& cut = bench.cut;
    const Real mean = Real(1) / static_cast<Real>(cut.cell_rows * cut.cell_columns);
    for (int begin = 0; begin < cut.cell_rows; begin += cut.strip) {
        const int rows = cut.cell_rows - begin < cut.strip ? cut.cell_rows - begin : cut.strip;
        make_forms<Real, kind>(bench, image, cell_row * cut.cell_rows + begin, rows, weights, mean);
        if (kind != Kind::values) {
            add_derivatives(bench, begin == 0, rows);
            continue;
        }
        __syncthreads();  // the values of the strip are ready
        for (int e = threadIdx.x; e < cut.across * kFilters; e += kThreads) {
            Real sum = begin == 0 ? Real(0) : bench.sums[e];
            for (int y = 0; y < rows; ++y) sum += bench.q[y * cut.across * kFilters + e];
            bench.sums[e] = sum;
        }
    }
    __syncthreads();  // all sums are ready
    finish<Real, kind>(bench, cell_row, mean, along, out, totals);
}

/// The sums of a contraction over the images of a part; totals (rows) in shared memory.
template <typename Real>
__device__ __forceinline__ void contract_part(const ConvolveLaunch& launch, const Bench<Real>& bench,
                                              std::int64_t problem, std::int64_t part, double* totals) {
    const ConvolveCall& c = launch.call;
    const Cut& cut = bench.cut;
    for (int e = threadIdx.x; e < cut.rows * kFilters; e += kThreads) totals[e] = 0.0;  // this thread's alone
    const std::int64_t begin = part * cut.images, end = begin + cut.images < c.n ? begin + cut.images : c.n;
    for (std::int64_t n = problem * c.n + begin; n < problem * c.n + end; ++n)
        for (int cell_row = 0; cell_row < static_cast<int>(c.cells_down); ++cell_row)
            row_of_cells<Real, Kind::contract>(
                bench, image_row(launch, n), cell_row,
                static_cast<const Real*>(launch.weights) + (n * c.filters + bench.first) * c.cells(), nullptr, nullptr,
                totals);
    double* const to = static_cast<double*>(cut.slabs > 1 ? launch.workspace : launch.out) +
                       blockIdx.x * cut.rows * c.filters + bench.first;
    for (int e = threadIdx.x; e < cut.rows * kFilters; e += kThreads)
        if (e % kFilters < bench.here) to[e / kFilters * c.filters + e % kFilters] = totals[e];
}

template <typename Real, Kind kind>
__global__ void __launch_bounds__(kThreads) convolve_kernel(ConvolveLaunch launch, Cut cut) {
    VARPRO_DYNAMIC_SHARED(double, shared);
    constexpr bool contract = kind == Kind::contract;
    const ConvolveCall& c = launch.call;
    const Bench<Real> bench(c, cut, kind != Kind::values,
                            reinterpret_cast<Real*>(shared + (contract ? cut.rows * kFilters : 0)));
    const std::int64_t cells = c.cells(), size = cut.rows * c.filters;
    const std::int64_t parts = contract ? cut.slabs : c.n * c.cells_down, problem = blockIdx.x / parts;
    const std::int64_t part = blockIdx.x % parts;
    bench.load_table(static_cast<const Real*>(launch.w) + problem * size);
    if constexpr (contract) {
        contract_part(launch, bench, problem, part, shared);
    } else {
        constexpr bool jacobian = kind == Kind::jacobian;
        const Real* const along =
            kind == Kind::tangent ? static_cast<const Real*>(launch.along) + problem * size + bench.first : nullptr;
        const std::int64_t place = problem * c.n + part / c.cells_down;
        Real* const out = static_cast<Real*>(launch.out) + place * cells * (jacobian ? size : c.filters) +
                          bench.first * (jacobian ? 1 : cells);
        row_of_cells<Real, kind>(bench, image_row(launch, place), static_cast<int>(part % c.cells_down), nullptr, along,
                                 out, nullptr);
    }
}

/// out (problems, size) = the sum of parts (problems, slabs, size), in their order.
__global__ void __launch_bounds__(kThreads)
    convolve_sum_kernel(const double* parts, double* out, std::int64_t slabs, std::int64_t size, std::int64_t all) {
    const std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (e >= all) return;
    const double* from = parts + e / size * slabs * size + e % size;
    double sum = 0;
    for (std::int64_t slab = 0; slab < slabs; ++slab, from += size) sum += *from;
    out[e] = sum;
}

std::int64_t slabs_of(const ConvolveLaunch& launch) { return ceil_div(launch.call.n, kImagesPerPart); }

template <typename Real, Kind kind>
void launch_kind(const char* name, const ConvolveLaunch& launch, Stream stream) {
    const ConvolveCall& c = launch.call;
    constexpr bool contract = kind == Kind::contract, derivative = kind != Kind::values;
    const std::int64_t totals = contract ? 8 * kFilters * c.rows() : 0;
    Cut cut = cut_of<Real>(c, derivative, totals);
    if (cut.strip == 0)
        throw LaunchError(std::string(name) + ": patches of " + std::to_string(c.patch_height) + " x " +
                          std::to_string(c.patch_width) + " on images of " + std::to_string(c.planes) + " x " +
                          std::to_string(c.height) + " x " + std::to_string(c.width) +
                          " do not fit into the shared memory of a block; use smaller ones or the CPU");
    cut.slabs = contract ? static_cast<int>(slabs_of(launch)) : 1;
    cut.images = static_cast<int>(kImagesPerPart);
    const std::int64_t blocks = launch.problems * (contract ? cut.slabs : c.n * c.cells_down);
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(ceil_div<std::int64_t>(c.filters, kFilters)));
    const std::size_t bytes = totals + bench_size(c, cut, derivative) * sizeof(Real);
    VARPRO_LAUNCH((convolve_kernel<Real, kind>), grid, dim3(kThreads), bytes, stream, launch, cut);
    check_launch(name);
}

template <Kind kind>
void launch_either(const char* name, const ConvolveLaunch& launch, Stream stream) {
    if (launch.problems == 0 || launch.call.n == 0 || launch.call.filters == 0) return;
    if (launch.is_float)
        launch_kind<float, kind>(name, launch, stream);
    else
        launch_kind<double, kind>(name, launch, stream);
}

}  // namespace

void convolve_values(const ConvolveLaunch& launch, Stream stream) {
    launch_either<Kind::values>("convolve_values", launch, stream);
}

void convolve_jacobian(const ConvolveLaunch& launch, Stream stream) {
    launch_either<Kind::jacobian>("convolve_jacobian", launch, stream);
}

void convolve_tangent(const ConvolveLaunch& launch, Stream stream) {
    launch_either<Kind::tangent>("convolve_tangent", launch, stream);
}

std::int64_t convolve_workspace(const ConvolveLaunch& launch) {
    const std::int64_t slabs = slabs_of(launch);
    return slabs > 1 ? 8 * launch.problems * slabs * launch.call.rows() * launch.call.filters : 0;
}

void convolve_contract(const ConvolveLaunch& launch, Stream stream) {
    const std::int64_t bytes = convolve_workspace(launch);
    if (bytes > 0 && !launch.workspace)
        throw LaunchError("convolve_contract: workspace is null; these sizes need " + std::to_string(bytes) + " bytes");
    launch_either<Kind::contract>("convolve_contract", launch, stream);
    const std::int64_t size = launch.call.rows() * launch.call.filters, all = launch.problems * size;
    if (bytes == 0 || all == 0) return;
    VARPRO_LAUNCH(convolve_sum_kernel, dim3(static_cast<unsigned>(ceil_div<std::int64_t>(all, kThreads))),
                  dim3(kThreads), 0, stream, static_cast<const double*>(launch.workspace),
                  static_cast<double*>(launch.out), slabs_of(launch), size, all);
    check_launch("convolve_contract");
}

}  // namespace varpro::cuda
