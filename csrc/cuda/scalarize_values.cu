// Values alone: q is a cuBLAS product of packed images with packed outer products; here are the packing of the images,
// and the sigmoid after the product.
//
// pack: a block loads columns of X into shared memory, and a thread then looks up X_lk for entry (k, l), so that both
// reading and writing go along the rows.  The place of an entry is computed once for all images of a block.  The limit
// is the writing of the entries.
// activate: sixteen bytes per thread and turn, whatever their columns, because rows of units + 1 numbers are not
// aligned.
#include "scalarize.cuh"

namespace varpro::cuda {
namespace {

constexpr int kBlock = 256;                // threads
constexpr int kStagedBytes = 24 * 1024;    // of shared memory, so that eight blocks, all threads, fit a multiprocessor
constexpr std::int64_t kMostImages = 8;    // per block
constexpr std::int64_t kMostPlanes = 128;  // times strips within the second dimension of a grid
constexpr int kTurns = 4;                  // of sixteen bytes per thread

/// How pack cuts its work; computed once on the host.
struct PackCut {
    int side, width, strips;  // columns of X in shared memory at a time, and how often
    int images;               // of a block
};

/// Entries of the packed triangle before row k.
__device__ __forceinline__ int row_begin(int k, int side) { return k * side - k * (k - 1) / 2; }

/// The row of entry e.
__device__ __forceinline__ int row_of(int e, int side) {
    const float twice = 2.0f * side + 1.0f;  // its square is exact up to side 2,047
    int k = static_cast<int>(0.5f * (twice - sqrtf(twice * twice - 8.0f * e)));
    while (k > 0 && row_begin(k, side) > e) --k;  // the root may be off by one on either side
    while (row_begin(k + 1, side) <= e) ++k;
    return k;
}

/// The place among all pixels where plane `plane` of the image at `place` begins.
__device__ __forceinline__ std::int64_t image_begin(const PackCall& call, std::int64_t place, int plane) {
    return (image_row(call, place) * call.planes + plane) * call.side * call.side;
}

template <typename Real>
__global__ void __launch_bounds__(kBlock) pack_kernel(PackCall call, PackCut cut) {
    VARPRO_DYNAMIC_SHARED(Real, staged);  // (images, rows, pitch): X[l, k] of k in [first, last), l in [first, side)
    const int side = cut.side, plane = blockIdx.y / cut.strips, first = blockIdx.y % cut.strips * cut.width;
    const int last = first + cut.width < side ? first + cut.width : side;
    const int width = last - first, rows = side - first, pitch = cut.width | 1, area = rows * pitch;
    const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * cut.images, all = call.problems * call.n;
    const int images = static_cast<int>(all - begin < cut.images ? all - begin : cut.images);

    for (int image = 0; image < images; ++image) {
        const std::int64_t start = image_begin(call, begin + image, plane) + first * (side + 1);
        for (int e = threadIdx.x; e < rows * width; e += kBlock)
            staged[image * area + e / width * pitch + e % width] =
                pixel_at<Real>(call.images, call.pixel, start + e / width * side + e % width);
    }
    __syncthreads();

    const std::int64_t entries = static_cast<std::int64_t>(side) * (side + 1) / 2;
    for (int e = row_begin(first, side) + threadIdx.x; e < row_begin(last, side); e += kBlock) {
        const int k = row_of(e, side), l = k + e - row_begin(k, side);
        auto* out = static_cast<Real*>(call.out) + (begin * call.planes + plane) * entries + e;
        for (int image = 0; image < images; ++image, out += call.planes * entries) {
            const Real* const x = staged + image * area;
            Real value = x[(l - first) * pitch + k - first];
            if (l >= last)  // X[k, l] is not among the columns of this strip
                value +=
                    pixel_at<Real>(call.images, call.pixel, image_begin(call, begin + image, plane) + k * side + l);
            else if (l > k)
                value += x[(k - first) * pitch + l - first];
            *out = value;
        }
    }
}

template <typename Real>
void launch_pack(const PackCall& call, Stream stream) {
    PackCut cut{};
    cut.side = static_cast<int>(call.side);
    const int fitting = kStagedBytes / static_cast<int>(sizeof(Real)) / cut.side;  // numbers per row
    cut.width = (cut.side | 1) <= fitting ? cut.side : (fitting - 1) | 1;
    cut.strips = ceil_div(cut.side, cut.width);
    const std::int64_t area = cut.side * (cut.width | 1), staged = kStagedBytes / sizeof(Real) / area;
    const std::int64_t all = call.problems * call.n, most = staged < kMostImages ? staged : kMostImages;
    cut.images = static_cast<int>(most < 1 ? 1 : most);
    const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(all, cut.images)),
                    static_cast<unsigned>(call.planes * cut.strips));
    VARPRO_LAUNCH(pack_kernel<Real>, grid, dim3(kBlock), cut.images * area * sizeof(Real), stream, call, cut);
    check_launch("pack");
}

template <typename Real>
struct alignas(16) Vector {
    static constexpr int kCount = 16 / sizeof(Real);
    Real v[kCount];
};

template <typename Real>
__global__ void __launch_bounds__(kBlock) activate_kernel(ActivateLaunch call, std::int64_t slabs) {
    constexpr int kCount = Vector<Real>::kCount, kSlab = kBlock * kTurns * kCount;
    const std::int64_t problem = blockIdx.x / slabs, size = call.n * (call.units + 1);
    Real* const phi = static_cast<Real*>(call.phi) + problem * size;
    const Real* const bias = static_cast<const Real*>(call.bias) + problem * call.units;
    const int shift = static_cast<int>(reinterpret_cast<std::uintptr_t>(phi) % 16 / sizeof(Real));
    const std::int64_t slab = blockIdx.x % slabs * kSlab - shift;  // begins on sixteen bytes, the first before phi
    const unsigned columns = static_cast<unsigned>(call.units + 1);
    const unsigned first_column = static_cast<unsigned>((slab + kCount * columns) % columns);  // slab > -kCount
    for (int turn = 0; turn < kTurns; ++turn) {
        const int offset = (turn * kBlock + static_cast<int>(threadIdx.x)) * kCount;
        const std::int64_t at = slab + offset;
        const bool whole = at >= 0 && at + kCount <= size;
        Vector<Real> q{};
        if (whole) q = *reinterpret_cast<const Vector<Real>*>(phi + at);
#pragma unroll
        for (int e = 0; e < kCount; ++e) {
            if (at + e < 0 || at + e >= size) continue;
            const unsigned column = (first_column + static_cast<unsigned>(offset + e)) % columns;
            if (!whole) q.v[e] = phi[at + e];
            q.v[e] = column + 1 < columns ? sigmoid(q.v[e] + __ldg(bias + column), call.logistic) : Real(1);
            if (!whole) phi[at + e] = q.v[e];
        }
        if (whole) *reinterpret_cast<Vector<Real>*>(phi + at) = q;
    }
}

template <typename Real>
void launch_activate(const ActivateLaunch& call, Stream stream) {
    constexpr std::int64_t kCount = Vector<Real>::kCount;
    const std::int64_t size = call.n * (call.units + 1);
    const std::int64_t slabs = ceil_div<std::int64_t>(size + kCount - 1, kBlock * kTurns * kCount);
    const dim3 grid(static_cast<unsigned>(call.problems * slabs));
    VARPRO_LAUNCH(activate_kernel<Real>, grid, dim3(kBlock), 0, stream, call, slabs);
    check_launch("activate");
}

}  // namespace

void pack(const PackCall& call, Stream stream) {
    if (call.problems == 0 || call.n == 0) return;
    if (call.side < 1 || call.side > kLargestSide || call.planes < 1 || call.planes > kMostPlanes)
        throw LaunchError("pack: side " + std::to_string(call.side) + ", planes " + std::to_string(call.planes) +
                          "; side goes from 1 to " + std::to_string(kLargestSide) + ", planes from 1 to " +
                          std::to_string(kMostPlanes));
    if (call.out_is_float)
        launch_pack<float>(call, stream);
    else
        launch_pack<double>(call, stream);
}

void activate(const ActivateLaunch& call, Stream stream) {
    if (call.problems == 0 || call.n == 0) return;
    if (call.is_float)
        launch_activate<float>(call, stream);
    else
        launch_activate<double>(call, stream);
}

}  // namespace varpro::cuda
