/// Forms u^T X v at every place of as many images as a vector has lanes: rows with v, then columns with u.
#pragma once

#include <vector>

#include "../kernels/convolve.hpp"
#include "aligned.hpp"
#include "convolve_lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// Images with their border, and the halves of a filter: their rows, or those of the mix, convolved with v.  Loops go
/// row by row, whose taps are the rows read last; cells are summed down a column of them, for the same reason.
template <typename T>
class Forms {
  public:
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

    Forms(const ConvolveCall& call, const T* w)
        : c(call),
          down((call.height + 2 * call.pad_rows - call.patch_height) / call.stride + 1),
          across((call.width + 2 * call.pad_columns - call.patch_width) / call.stride + 1),
          tall(std::max((down - 1) * call.stride + call.patch_height, call.pad_rows + call.height)),
          broad(std::max((across - 1) * call.stride + call.patch_width, call.pad_columns + call.width)),
          tables_(transposed(w)),
          planes_(call.planes * plane_size(), T(0)),
          mix_(call.mixed ? plane_size() : 0, T(0)),
          halves_(new_halves()) {}

    const ConvolveCall& c;
    /// places down and across; rows and columns of an image with its border
    const std::int64_t down, across, tall, broad;

    std::int64_t places() const { return down * across; }
    std::int64_t plane_size() const { return tall * broad * kLanes; }
    std::int64_t half_size() const { return tall * across * kLanes; }
    /// What makes a mean of the sum over a cell.
    T mean() const { return T(1) / static_cast<T>(down / c.cells_down * (across / c.cells_across)); }
    /// each(cell, its places): down a column of cells, then the next.
    template <typename Each>
    void each_cell(Each&& each) const {
        const std::int64_t rows = down / c.cells_down, columns = across / c.cells_across;
        for (std::int64_t right = 0; right < c.cells_across; ++right)
            for (std::int64_t below = 0; below < c.cells_down; ++below)
                each(below * c.cells_across + right, Area{below * rows, right * columns, rows, columns});
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
    /// The table (rows) of a filter.
    const T* weights(std::int64_t f) const { return tables_.data() + f * c.rows(); }

    /// Reads the images from n on, once for all filters, and returns how many: lanes beyond the last image keep what
    /// they held, and the border its zeros.
    std::int64_t images(std::int64_t n) {
        const std::int64_t count = std::min(kLanes, c.n - n), first = n * c.planes * c.height * c.width;
        if (c.pixel == Pixel::u8)
            fill(static_cast<const unsigned char*>(c.x) + first, count, T(1) / T(255));
        else if (c.pixel == Pixel::f32)
            fill(static_cast<const float*>(c.x) + first, count, T(1));
        else
            fill(static_cast<const double*>(c.x) + first, count, T(1));
        return count;
    }

    Aligned<T> new_halves() const { return Aligned<T>(c.terms * half_size(), T(0)); }
    const T* halves() const { return halves_.data(); }
    void filter(const T* table) { convolve_rows(table, table, halves_.data()); }

    /// halves (terms, tall, across) of the images, mixed by the table `mix`, with v from the table `by`.
    void convolve_rows(const T* mix, const T* by, T* halves) {
        if (c.mixed) mixed(mix + mix_row());
        const Field<T> rows{nullptr, c.stride * kLanes, broad * kLanes, kLanes};
        for (std::int64_t t = 0; t < c.terms; ++t) {
            const T* const from = (c.mixed ? mix_.data() : plane(t % c.planes)) + c.pad_rows * rows.row;
            T* const to = halves + t * half_size() + c.pad_rows * across * kLanes;
            convolve(from, rows, c.height, across, by + v_row(t), c.patch_width, to);
        }
    }

    /// A half (tall, across) at the taps of u.
    Field<T> down_half(const T* half) const { return {half, kLanes, c.stride * across * kLanes, across * kLanes}; }

    /// One part of a form: a column of taps on the rows of a half.
    struct Part {
        const T *half, *u;
    };

    /// q (down, across): start + the sum over the parts.  Rows of the border are zero: only taps that reach the image.
    void convolve_columns(const std::vector<Part>& parts, T start, T* q) const {
        const Field<T> at = down_half(nullptr);
        for (std::int64_t r = 0; r < down; ++r) {
            const std::int64_t first = std::max<std::int64_t>(0, c.pad_rows - r * c.stride);
            const std::int64_t last = std::min(c.patch_height, c.pad_rows + c.height - r * c.stride);
            in_parts<kPlaces>(across, [&]<int... j>(std::int64_t column, std::integer_sequence<int, j...>) {
                PlaceSums<T, j...> sums(start);
                for (const Part& part : parts)
                    sums.add(part.half + column * kLanes + r * at.row + first * at.tap, at, part.u + first,
                             last - first);
                sums.write(q + (r * across + column) * kLanes);
            });
        }
    }

    /// The columns of a plane convolved with u, (down, broad), at the taps of v.
    Field<T> convolve_plane(std::int64_t p, const T* u, Aligned<T>& to) const {
        const std::int64_t row = broad * kLanes;
        to.resize(down * row);
        convolve(plane(p), {nullptr, kLanes, c.stride * row, row}, down, broad, u, c.patch_height, to.data());
        return {to.data(), c.stride * kLanes, row, kLanes};
    }

  private:
    const T* plane(std::int64_t p) const { return planes_.data() + p * plane_size(); }

    /// to (rows, columns): sums over the taps of a field.
    void convolve(const T* from, const Field<T>& field, std::int64_t rows, std::int64_t columns, const T* weights,
                  std::int64_t taps, T* to) const {
        for (std::int64_t r = 0; r < rows; ++r)
            in_parts<kPlaces>(columns, [&]<int... j>(std::int64_t column, std::integer_sequence<int, j...>) {
                PlaceSums<T, j...> sums(T(0));
                sums.add(from + column * field.place + r * field.row, field, weights, taps);
                sums.write(to + (r * columns + column) * kLanes);
            });
    }

    /// The planes mixed by m.
    void mixed(const T* m) {
        for (std::int64_t row = 0; row < c.height; ++row) {
            const std::int64_t here = ((c.pad_rows + row) * broad + c.pad_columns) * kLanes;
            in_parts<kPlaces>(c.width, [&]<int... j>(std::int64_t column, std::integer_sequence<int, j...>) {
                PlaceSums<T, j...> sums(T(0));
                sums.add(plane(0) + here + column * kLanes, {nullptr, kLanes, 0, plane_size()}, m, c.planes);
                sums.write(mix_.data() + here + column * kLanes);
            });
        }
    }

    template <typename From>
    void fill(const From* from, std::int64_t count, T scale) {
        const std::int64_t size = c.planes * c.height * c.width;
        for (std::int64_t p = 0; p < c.planes; ++p)
            for (std::int64_t row = 0; row < c.height; ++row, from += c.width) {
                T* to = planes_.data() + p * plane_size() + ((row + c.pad_rows) * broad + c.pad_columns) * kLanes;
                for (std::int64_t k = 0; k < c.width; ++k, to += kLanes)
                    for (std::int64_t lane = 0; lane < count; ++lane)
                        to[lane] = static_cast<T>(from[lane * size + k]) * scale;
            }
    }

    Aligned<T> tables_, planes_, mix_, halves_;
};

/// The parts of the form of a filter: a half and u for each term.
template <typename T>
void add_parts(const Forms<T>& forms, const T* halves, const T* table, std::vector<typename Forms<T>::Part>& parts) {
    for (std::int64_t t = 0; t < forms.c.terms; ++t)
        parts.push_back({halves + t * forms.half_size(), table + forms.u_row(t)});
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
