/// What a block of the kernels on convolutional units does with a strip of places: the forms, their derivatives, sums.
///
/// A block has four filters, side by side in every array in shared memory, and a strip of rows of places of one image.
/// As on the CPU the forms are separable: image rows with v, then columns with u; for the derivative by v also columns
/// of the image with u.  Every sum belongs to one thread, so that no order of threads shows.
#pragma once

#include "../kernels/convolve.hpp"
#include "pixels.cuh"

namespace varpro::cuda {
namespace {

constexpr int kFilters =
    4;  // of a block: a row of four doubles is a sector of memory in D, whose filters are innermost
constexpr int kThreads = 256;

/// How a block cuts its work; computed once on the host.
struct Cut {
    int rows;                     // of a table
    int down, across, padded;     // places, and columns of an image with its border
    int cell_rows, cell_columns;  // places of a cell
    int strip, seen;              // rows of places at a time, and the rows of the image that they see
    int slabs, images;            // contract: blocks that share a problem's images, and images of each
};

template <typename Real>
struct Squashed {
    Real value, slope;
};

template <typename Real>
__device__ __forceinline__ Squashed<Real> squashed(Squash kind, Real smoothing, Real q) {
    if (kind == Squash::tanh) {
        const Real value = tanh(q);
        return {value, Real(1) - value * value};
    }
    if (kind == Squash::square) return {q * q, q + q};
    if (kind == Squash::smooth_abs) {
        const Real size = sqrt(q * q + smoothing);
        return {size, q / size};
    }
    const Real rising = Real(0.5) + Real(0.5) * tanh(Real(0.5) * q);
    if (kind == Squash::logistic) return {rising, rising * (Real(1) - rising)};
    const Real size = q < Real(0) ? -q : q;
    return {Real(0.5) * (q + size) + log1p(exp(-size)), rising};
}

/// The arrays of a block in shared memory, filters innermost, and the steps that fill them.
template <typename Real>
struct Bench {
    const ConvolveCall& c;
    const Cut& cut;
    Real* table;      // (rows): of the block's filters
    Real* pixels;     // (planes, seen, padded), without filters
    Real* half;       // (seen, across): image rows with v
    Real* q;          // (strip, across): forms, then values or slopes
    Real* crossed;    // (strip, padded): image columns with u; then the forms of one plane
    Real* sums;       // (cells_across, rows), or (across) for values alone
    int first, here;  // filters

    __device__ __forceinline__ Bench(const ConvolveCall& call, const Cut& cut_, bool derivative, Real* shared)
        : c(call), cut(cut_) {
        table = shared;
        pixels = table + cut.rows * kFilters;
        half = pixels + static_cast<int>(c.planes) * cut.seen * cut.padded;
        q = half + cut.seen * cut.across * kFilters;
        crossed = q + cut.strip * cut.across * kFilters;
        sums = crossed + (derivative ? cut.strip * cut.padded * kFilters : 0);
        first = blockIdx.y * kFilters;
        here = c.filters - first < kFilters ? static_cast<int>(c.filters - first) : kFilters;
    }

    __device__ __forceinline__ int u_row(int t) const { return t * static_cast<int>(c.patch_height + c.patch_width); }
    __device__ __forceinline__ int v_row(int t) const { return u_row(t) + static_cast<int>(c.patch_height); }
    __device__ __forceinline__ int mix_row(int p) const { return cut.rows - 1 - static_cast<int>(c.planes) + p; }

    /// table <- the block's columns of w (rows, filters), zeros where there is no filter.
    __device__ __forceinline__ void load_table(const Real* w) const {
        for (int e = threadIdx.x; e < cut.rows * kFilters; e += kThreads) {
            const int f = e % kFilters;
            table[e] = f < here ? __ldg(w + e / kFilters * c.filters + first + f) : Real(0);
        }
    }

    /// pixels <- the rows of an image that the places from row `place` on see, with its border of zeros.
    __device__ __forceinline__ void load_pixels(std::int64_t image, int place) const {
        const int top = place * static_cast<int>(c.stride) - static_cast<int>(c.pad_rows);
        const int height = static_cast<int>(c.height), width = static_cast<int>(c.width);
        for (int p = 0; p < static_cast<int>(c.planes); ++p) {
            const std::int64_t plane = (image * c.planes + p) * height * width;
            for (int e = threadIdx.x; e < cut.seen * cut.padded; e += kThreads) {
                const int row = top + e / cut.padded, column = e % cut.padded - static_cast<int>(c.pad_columns);
                const bool there = row >= 0 && row < height && column >= 0 && column < width;
                pixels[p * cut.seen * cut.padded + e] =
                    there ? pixel_at<Real>(c.x, c.pixel, plane + row * width + column) : Real(0);
            }
        }
    }

    /// A pixel as term t of filter f sees it: of the filter's mix, or of its plane; of plane `plane` if that is >= 0.
    __device__ __forceinline__ Real seen_pixel(int t, int plane, int f, int at) const {
        const int area = cut.seen * cut.padded;
        if (plane >= 0) return pixels[plane * area + at];
        if (!c.mixed) return pixels[t % static_cast<int>(c.planes) * area + at];
        Real sum = 0;
        for (int p = 0; p < static_cast<int>(c.planes); ++p)
            sum += table[mix_row(p) * kFilters + f] * pixels[p * area + at];
        return sum;
    }

    /// half[row, place] = sum_j v_j X[row, stride place + j]
    __device__ __forceinline__ void convolve_rows(int t, int plane) const {
        for (int e = threadIdx.x; e < cut.seen * cut.across * kFilters; e += kThreads) {
            const int f = e % kFilters, place = e / kFilters % cut.across, row = e / kFilters / cut.across;
            const int at = row * cut.padded + place * static_cast<int>(c.stride);
            Real sum = 0;
            for (int j = 0; j < static_cast<int>(c.patch_width); ++j)
                sum += table[(v_row(t) + j) * kFilters + f] * seen_pixel(t, plane, f, at + j);
            half[e] = sum;
        }
    }

    /// to[row, place] (+)= sum_i u_i half[stride row + i, place], then finish(its number, sum); from 0 or the bias.
    template <typename Finish>
    __device__ __forceinline__ void convolve_columns(int t, bool start, bool bias, Real* to,
                                                     const Finish& finish) const {
        const int width = cut.across * kFilters;
        for (int e = threadIdx.x; e < cut.strip * width; e += kThreads) {
            const int f = e % kFilters;
            Real sum = !start ? to[e] : bias ? table[(cut.rows - 1) * kFilters + f] : Real(0);
            const Real* from = half + e / width * static_cast<int>(c.stride) * width + e % width;
            for (int i = 0; i < static_cast<int>(c.patch_height); ++i, from += width)
                sum += table[(u_row(t) + i) * kFilters + f] * *from;
            to[e] = finish(e, sum);
        }
    }

    /// crossed[row, column] = sum_i u_i X[stride row + i, column]
    __device__ __forceinline__ void cross(int t) const {
        for (int e = threadIdx.x; e < cut.strip * cut.padded * kFilters; e += kThreads) {
            const int f = e % kFilters, column = e / kFilters % cut.padded, row = e / kFilters / cut.padded;
            const int at = row * static_cast<int>(c.stride) * cut.padded + column;
            Real sum = 0;
            for (int i = 0; i < static_cast<int>(c.patch_height); ++i)
                sum += table[(u_row(t) + i) * kFilters + f] * seen_pixel(t, -1, f, at + i * cut.padded);
            crossed[e] = sum;
        }
    }

    /// sums[cell, row] (+)= sum over the `rows` of places in a strip of q times `by`, whose entries for neighbours lie
    /// `step` apart, and for rows `pitch`; by null is 1.
    __device__ __forceinline__ void add(bool start, int cell, int row, int f, int rows, const Real* by, int step,
                                        int pitch) const {
        Real sum = 0;
        for (int y = 0; y < rows; ++y) {
            const Real* slope = q + (y * cut.across + cell * cut.cell_columns) * kFilters + f;
            const Real* other = by ? by + (y * pitch + cell * cut.cell_columns * step) * kFilters + f : nullptr;
            for (int x = 0; x < cut.cell_columns; ++x, slope += kFilters) {
                sum += other ? *slope * *other : *slope;
                if (other) other += step * kFilters;
            }
        }
        Real& to = sums[(cell * cut.rows + row) * kFilters + f];
        to = start ? sum : to + sum;
    }

    /// sums for u and v of term t, and with the first term for the bias.
    __device__ __forceinline__ void add_term(bool start, int t, int rows) const {
        const int height = static_cast<int>(c.patch_height), width = static_cast<int>(c.patch_width);
        const int stride = static_cast<int>(c.stride), own = height + width + (t == 0);
        for (int e = threadIdx.x; e < static_cast<int>(c.cells_across) * own * kFilters; e += kThreads) {
            const int f = e % kFilters, k = e / kFilters % own, cell = e / kFilters / own;
            if (k < height)
                add(start, cell, u_row(t) + k, f, rows, half + k * cut.across * kFilters, 1, stride * cut.across);
            else if (k < height + width)
                add(start, cell, u_row(t) + k, f, rows, crossed + (k - height) * kFilters, stride, cut.padded);
            else
                add(start, cell, cut.rows - 1, f, rows, nullptr, 0, 0);
        }
    }

    /// sums for the weight of plane p in the mix, whose forms are in `crossed`.
    __device__ __forceinline__ void add_plane(bool start, int p, int rows) const {
        for (int e = threadIdx.x; e < static_cast<int>(c.cells_across) * kFilters; e += kThreads)
            add(start, e / kFilters, mix_row(p), e % kFilters, rows, crossed, 1, cut.across);
    }
};

/// Numbers in the shared memory of a block.
inline std::int64_t bench_size(const ConvolveCall& c, const Cut& cut, bool derivative) {
    const std::int64_t sums = derivative ? c.cells_across * cut.rows : cut.across;
    return c.planes * cut.seen * cut.padded + kFilters * (cut.rows + (cut.seen + cut.strip) * cut.across +
                                                          (derivative ? cut.strip * cut.padded : 0) + sums);
}

/// As many rows of places at a time as fit, in strips of equal height; strip = 0 if not even one fits.  totals: bytes
/// beside the bench.
template <typename Real>
Cut cut_of(const ConvolveCall& c, bool derivative, std::int64_t totals) {
    Cut cut{};
    cut.rows = static_cast<int>(c.rows());
    cut.padded = static_cast<int>(c.width + 2 * c.pad_columns);
    cut.down = static_cast<int>((c.height + 2 * c.pad_rows - c.patch_height) / c.stride + 1);
    cut.across = static_cast<int>((cut.padded - c.patch_width) / c.stride + 1);
    cut.cell_rows = cut.down / static_cast<int>(c.cells_down);
    cut.cell_columns = cut.across / static_cast<int>(c.cells_across);
    for (int strips = 1; strips <= cut.cell_rows; ++strips) {
        cut.strip = ceil_div(cut.cell_rows, strips);
        cut.seen = static_cast<int>((cut.strip - 1) * c.stride + c.patch_height);
        const std::int64_t bytes = bench_size(c, cut, derivative) * static_cast<std::int64_t>(sizeof(Real)) + totals;
        if (bytes <= kSharedBytes) return cut;
    }
    cut.strip = 0;
    return cut;
}

}  // namespace
}  // namespace varpro::cuda
