/// Forms u^T X v at every place of as many images as a vector has lanes: rows with v, then columns with u.
#pragma once

#include <vector>

#include "../kernels/convolve.hpp"
#include "aligned.hpp"
#include "convolve_lanes.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// Images with their border, and the halves of a filter: their rows, or those of the mix, convolved with v.  Loops go
/// row by row, whose taps are the rows read last; cells are summed down a column of them, for the same reason.  Rows
/// that are zero in all images at hand are left out of sums: digits and clothes leave a fifth of the rows dark.
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
          mix_(call.mixed ? plane_size() : 0, T(0)) {}

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
        find_lit_rows();
        return count;
    }

    /// Halves of a filter, zero.
    Aligned<T> new_halves() const { return Aligned<T>(c.terms * half_size(), T(0)); }

    /// All rows of the halves of the images, mixed by the table `mix`, with v from the table `by`.
    void convolve_rows(const T* mix, const T* by, T* halves) {
        if (c.mixed) mixed(mix);
        convolve_rows<1>(c.pad_rows, c.pad_rows + c.height, {by}, {halves});
    }
    /// Rows of the halves, from `first` to `last`, of a few filters; if planes are mixed, of what was mixed last.
    template <int tables>
    void convolve_rows(std::int64_t first, std::int64_t last, const T* const (&by)[tables],
                       T* const (&halves)[tables]) const {
        const Field<T> rows{nullptr, c.stride * kLanes, broad * kLanes, kLanes};
        for (std::int64_t t = 0; t < c.terms; ++t) {
            const T* v[tables];
            T* to[tables];
            for (int k = 0; k < tables; ++k) {
                v[k] = by[k] + v_row(t);
                to[k] = halves[k] + t * half_size() + first * across * kLanes;
            }
            const T* const from = (c.mixed ? mix_.data() : plane(t % c.planes)) + first * rows.row;
            convolve<tables>(from, rows, last - first, across, v, c.patch_width, to);
        }
    }
    /// The planes mixed by a table.
    void mixed(const T* table) {
        for (std::int64_t row = 0; row < c.height; ++row) {
            const std::int64_t here = ((c.pad_rows + row) * broad + c.pad_columns) * kLanes;
            convolve<1>(plane(0) + here, {nullptr, kLanes, 0, plane_size()}, 1, c.width, {table + mix_row()}, c.planes,
                        {mix_.data() + here});
        }
    }

    /// A half (tall, across) at the taps of u.
    Field<T> down_half(const T* half) const { return {half, kLanes, c.stride * across * kLanes, across * kLanes}; }

    /// One part of a form: a column of taps on the rows of a half.
    struct Part {
        const T *half, *u;
    };

    /// The lit rows of a half that the places of row r meet: the first, and the one after the last.
    std::pair<std::int64_t, std::int64_t> met(std::int64_t r) const {
        const std::int64_t top = r * c.stride, bottom = top + c.patch_height;
        return {std::clamp(first_lit_, top, bottom), std::clamp(last_lit_, top, bottom)};
    }

    /// q = start + the sum over the parts, in rows of places from `top` to `bottom`: use(row, column, sums) for the
    /// sums of neighbouring places.
    template <typename Use>
    void convolve_columns(const std::vector<Part>& parts, T start, std::int64_t top, std::int64_t bottom,
                          Use&& use) const {
        const Field<T> at = down_half(nullptr);
        in_parts<kPlaces<1>>(across, [&]<int... j>(std::int64_t column, std::integer_sequence<int, j...>) {
            for (std::int64_t r = top; r < bottom; ++r) {
                const auto [first, last] = met(r);
                PlaceSums<T, 1, j...> sums;
                sums.begin(start);
                for (const Part& part : parts)
                    sums.add(part.half + column * kLanes + first * at.tap, at, {part.u + first - r * c.stride},
                             last - first);
                use(r, column, sums);
            }
        });
    }
    /// q (down, across) of all rows.
    void convolve_columns(const std::vector<Part>& parts, T start, T* q) const {
        convolve_columns(parts, start, 0, down, [&](std::int64_t r, std::int64_t column, const auto& sums) {
            sums.write(0, q + (r * across + column) * kLanes);
        });
    }

    /// The columns of a plane convolved with u, (down, broad), at the taps of v.
    Field<T> convolve_plane(std::int64_t p, const T* u, Aligned<T>& to) const {
        const std::int64_t row = broad * kLanes;
        to.resize(down * row);
        convolve<1>(plane(p), {nullptr, kLanes, c.stride * row, row}, down, broad, {u}, c.patch_height, {to.data()});
        return {to.data(), c.stride * kLanes, row, kLanes};
    }

  private:
    const T* plane(std::int64_t p) const { return planes_.data() + p * plane_size(); }

    /// to (rows, columns) of each table of weights: sums over the taps of a field.
    template <int tables>
    static void convolve(const T* from, const Field<T>& field, std::int64_t rows, std::int64_t columns,
                         const T* const (&weights)[tables], std::int64_t taps, T* const (&to)[tables]) {
        in_parts<kPlaces<tables>>(columns, [&]<int... j>(std::int64_t column, std::integer_sequence<int, j...>) {
            for (std::int64_t r = 0; r < rows; ++r) {
                PlaceSums<T, tables, j...> sums;
                sums.begin(T(0));
                sums.add(from + column * field.place + r * field.row, field, weights, taps);
                for (int k = 0; k < tables; ++k) sums.write(k, to[k] + (r * columns + column) * kLanes);
            }
        });
    }

    /// Rows from first_lit_ to last_lit_ of the planes hold all numbers that are not zero.
    void find_lit_rows() {
        const auto lit = [&](std::int64_t row) {
            const std::int64_t size = broad * kLanes;
            for (std::int64_t p = 0; p < c.planes; ++p) {
                const T* const from = plane(p) + row * size;
                if (std::any_of(from, from + size, [](T value) { return value != T(0); })) return true;
            }
            return false;
        };
        first_lit_ = c.pad_rows;
        last_lit_ = c.pad_rows + c.height;
        while (first_lit_ < last_lit_ && !lit(first_lit_)) ++first_lit_;
        while (first_lit_ < last_lit_ && !lit(last_lit_ - 1)) --last_lit_;
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

    Aligned<T> tables_, planes_, mix_;
    std::int64_t first_lit_ = 0, last_lit_ = 0;
};

/// The parts of the form of a filter: a half and u for each term.
template <typename T>
void add_parts(const Forms<T>& forms, const T* halves, const T* table, std::vector<typename Forms<T>::Part>& parts) {
    for (std::int64_t t = 0; t < forms.c.terms; ++t)
        parts.push_back({halves + t * forms.half_size(), table + forms.u_row(t)});
}

}  // namespace
}  // namespace varpro::VARPRO_ISA
