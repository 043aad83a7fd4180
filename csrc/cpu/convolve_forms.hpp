/// Forms u^T X v at every place of an image, a few filters at a time: rows with v, then columns with u.
#pragma once

#include <array>
#include <cstring>

#include "../kernels/convolve.hpp"
#include "aligned.hpp"
#include "convolve_rows.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// An image with its border, and the halves of a few filters: its rows, or those of the mix, convolved with v.  With a
/// stride, the pixels of a row are sorted by their phase, so that neighbouring places are neighbours in memory.
template <typename T>
class Forms {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    Forms(const ConvolveCall& call, const T* w)
        : c(call),
          down((call.height + 2 * call.pad_rows - call.patch_height) / call.stride + 1),
          across((call.width + 2 * call.pad_columns - call.patch_width) / call.stride + 1),
          vectors((across + kLanes - 1) / kLanes),
          wide(vectors * kLanes),
          phase_(phase_width(call, wide)),
          row_size(call.stride * phase_),
          tall(std::max((down - 1) * call.stride + call.patch_height, call.pad_rows + call.height)),
          tables_(transposed(w)),
          planes_(call.planes * tall * row_size, T(0)),
          mix_(call.mixed ? tall * row_size : 0, T(0)),
          halves_(kFilters * call.terms * tall * wide, T(0)) {
        const std::int64_t s = c.stride;
        for (std::int64_t k = 0; k < std::min(s, c.patch_width); ++k)
            phases_.push_back({k, k * phase_, {(c.patch_width - k + s - 1) / s, 1, s}});
        for (std::int64_t k = 0; k < c.patch_width; ++k) along.push_back(k % c.stride * phase_ + k / c.stride);
        for (std::int64_t k = 0; k < c.patch_height; ++k) down_half.push_back(k * wide);
        for (std::int64_t p = 0; p < c.planes; ++p) of_plane.push_back(p * tall * row_size);
        for (std::int64_t r = 0; r < down; ++r) of_cell_row.push_back(r / cell_rows * wide);
    }

    const ConvolveCall& c;
    /// places down and across; a row of places in vectors, and in numbers; a row of the image with its border
    const std::int64_t down, across, vectors, wide;

  private:
    const std::int64_t phase_;

  public:
    const std::int64_t row_size, tall;
    /// offsets of the taps along a row of the image, down a half, of the planes, and of each row of places in an array
    /// (cells, wide) with a row for each row of cells
    std::vector<std::int64_t> along, down_half, of_plane, of_cell_row;

    /// places of a cell, down and across, and the factor that makes a mean of their sum
    const std::int64_t cell_rows = down / c.cells, cell_columns = across / c.cells;
    const T mean = T(1) / static_cast<T>(cell_rows * cell_columns);
    std::int64_t cell_count() const { return c.cells * c.cells; }

    /// use(cell, mean) for a row of cells, whose rows have been added up place by place in `places` (wide).
    template <typename Use>
    void each_cell(const T* places, Use&& use) const {
        const std::int64_t columns = cell_columns, cells = c.cells;
        const T factor = mean;
        for (std::int64_t cell = 0; cell < cells; ++cell, places += columns) {
            T sum = places[0];
            for (std::int64_t k = 1; k < columns; ++k) sum += places[k];
            use(cell, sum * factor);
        }
    }

    std::int64_t u_row(std::int64_t t) const { return t * (c.patch_height + c.patch_width); }
    std::int64_t v_row(std::int64_t t) const { return u_row(t) + c.patch_height; }
    std::int64_t mix_row() const { return c.rows() - 1 - c.planes; }

    /// A table (rows, filters) as (filters, rows).
    Aligned<T> transposed(const T* table) const {
        Aligned<T> out(c.filters * c.rows());
        for (std::int64_t row = 0; row < c.rows(); ++row)
            for (std::int64_t f = 0; f < c.filters; ++f) out[f * c.rows() + row] = table[row * c.filters + f];
        return out;
    }
    const Aligned<T>& tables() const { return tables_; }
    const T* weights(std::int64_t f) const { return tables_.data() + f * c.rows(); }

    /// A plane of the image with its border, (tall, row_size).
    const T* plane(std::int64_t p) const { return planes_.data() + of_plane[p]; }
    /// The halves of the filters, (kFilters, terms, tall, wide), and one of them.
    const T* halves() const { return halves_.data(); }
    const T* half(int which, std::int64_t t) const { return halves() + which * half_size() + t * tall * wide; }

    /// Reads an image, once for all filters; its border keeps the zeros that it began with.
    void image(std::int64_t n) {
        const std::int64_t size = c.planes * c.height * c.width;
        if (c.pixel == Pixel::u8)
            fill(static_cast<const unsigned char*>(c.x) + n * size, T(1) / T(255));
        else if (c.pixel == Pixel::f32)
            fill(static_cast<const float*>(c.x) + n * size, T(1));
        else
            fill(static_cast<const double*>(c.x) + n * size, T(1));
    }

    /// The tables (rows) of the filters from f on; the last one repeated, if fewer are left.
    using Tables = std::array<const T*, kFilters>;
    Tables tables_from(const Aligned<T>& tables, std::int64_t f) const {
        Tables out;
        for (int k = 0; k < kFilters; ++k) out[k] = tables.data() + std::min(f + k, c.filters - 1) * c.rows();
        return out;
    }

    /// Halves of the filters from f on.
    void filters(std::int64_t f) {
        const Tables own = tables_from(tables_, f);
        convolve_rows(own, own, halves_.data());
    }

    /// halves (kFilters, terms, tall, wide) of the image mixed by `mix` with v from `by`.
    void convolve_rows(const Tables& mix, const Tables& by, T* halves) {
        for (std::int64_t t = 0; t < c.terms; ++t) {
            T* const to = halves + (t * tall + c.pad_rows) * wide;
            if (c.mixed)
                for (int which = 0; which < kFilters; ++which)
                    convolve_mix(mixed(mix[which]), by[which] + v_row(t), to + which * half_size());
            else
                convolve_together(plane(t % c.planes), by, v_row(t), to);
        }
    }
    /// Halves of one filter are this far from those of the next.
    std::int64_t half_size() const { return c.terms * tall * wide; }

    /// One part of a form: a column of taps on the rows of a half.
    struct Part {
        const T *half, *u;
    };

    /// use(row of places, first vector, sums) for all places of start + sum over the parts.
    template <typename Use>
    void convolve_columns(const Part* parts, std::int64_t count, T start, Use&& use) const {
        in_row_pairs<T>(down, vectors, start, [&](std::int64_t r, std::int64_t next, std::int64_t at, auto& sums) {
            // rows of the border are zero: only taps that reach the image, in one row or the other
            const std::int64_t first = std::max<std::int64_t>(0, c.pad_rows - next * c.stride);
            const std::int64_t last = std::min(c.patch_height, c.pad_rows + c.height - r * c.stride);
            for (std::int64_t k = 0; k < count; ++k) {
                const T* const x = parts[k].half + at * kLanes + first * wide;
                sums.add(x + r * c.stride * wide, x + next * c.stride * wide, parts[k].u + first, {last - first, wide});
            }
            use(r, at, sums.one);
            if (next != r) use(next, at, sums.other);
        });
    }

    /// y (down, row_size): the columns of a plane convolved with u, for all pixels of a row.
    void convolve_plane(const T* x, const T* u, T* y) const {
        in_row_pairs<T>(down, row_size / kLanes, T(0),
                        [&](std::int64_t r, std::int64_t next, std::int64_t at, auto& sums) {
                            const T* const from = x + at * kLanes;
                            sums.add(from + r * c.stride * row_size, from + next * c.stride * row_size, u,
                                     {c.patch_height, row_size});
                            sums.write(y + r * row_size + at * kLanes, y + next * row_size + at * kLanes);
                        });
    }

  private:
    static std::int64_t phase_width(const ConvolveCall& call, std::int64_t wide) {
        const std::int64_t padded = call.width + 2 * call.pad_columns, s = call.stride;
        const std::int64_t needed = std::max((padded + s - 1) / s, wide + (call.patch_width - 1) / s);
        return (needed + kLanes - 1) / kLanes * kLanes;
    }

    template <typename From>
    void fill(const From* from, T scale) {
        for (std::int64_t p = 0; p < c.planes; ++p)
            for (std::int64_t row = 0; row < c.height; ++row, from += c.width) {
                T* const to = planes_.data() + of_plane[p] + (row + c.pad_rows) * row_size;
                if (c.stride == 1)
                    for (std::int64_t k = 0; k < c.width; ++k) to[c.pad_columns + k] = static_cast<T>(from[k]) * scale;
                else
                    for (std::int64_t k = 0; k < c.width; ++k) {
                        const std::int64_t at = c.pad_columns + k;
                        to[at % c.stride * phase_ + at / c.stride] = static_cast<T>(from[k]) * scale;
                    }
            }
    }

    /// Rows of a plane convolved with v of each filter: to (height, wide), half_size apart.
    void convolve_together(const T* x, const Tables& by, std::int64_t v, T* to) const {
        const T* row = x + c.pad_rows * row_size;
        const std::int64_t next = half_size();
        for (std::int64_t r = 0; r < c.height; ++r, row += row_size, to += wide)
            in_parts(vectors, [&]<int... j>(std::int64_t at, std::integer_sequence<int, j...>) {
                FilterSums<T, j...> sums;
                for (const Phase& phase : phases_) {
                    const T* const weights[] = {by[0] + v + phase.tap, by[1] + v + phase.tap, by[2] + v + phase.tap};
                    sums.add(row + at * kLanes + phase.offset, weights, phase.taps);
                }
                sums.write(to + at * kLanes, next);
            });
    }

    /// The same of a mix, for one filter.
    void convolve_mix(const T* x, const T* v, T* to) const {
        const T* const from = x + c.pad_rows * row_size;
        in_row_pairs<T>(c.height, vectors, T(0), [&](std::int64_t r, std::int64_t next, std::int64_t at, auto& sums) {
            const T* const row = from + at * kLanes;
            for (const Phase& phase : phases_)
                sums.add(row + r * row_size + phase.offset, row + next * row_size + phase.offset, v + phase.tap,
                         phase.taps);
            sums.write(to + r * wide + at * kLanes, to + next * wide + at * kLanes);
        });
    }

    /// The planes mixed by a filter.
    const T* mixed(const T* table) {
        const T* const m = table + mix_row();
        in_row_pairs<T>(c.height, row_size / kLanes, T(0),
                        [&](std::int64_t r, std::int64_t next, std::int64_t at, auto& sums) {
                            const std::int64_t here = (c.pad_rows + r) * row_size + at * kLanes;
                            const std::int64_t there = (c.pad_rows + next) * row_size + at * kLanes;
                            sums.add(planes_.data() + here, planes_.data() + there, m, {c.planes, tall * row_size});
                            sums.write(mix_.data() + here, mix_.data() + there);
                        });
        return mix_.data();
    }

    /// Taps along a row whose pixels have the same phase: the first of them, and where it lies.
    struct Phase {
        std::int64_t tap, offset;
        Taps taps;
    };

    Aligned<T> tables_, planes_, mix_, halves_;
    std::vector<Phase> phases_;
};

}  // namespace
}  // namespace varpro::VARPRO_ISA
