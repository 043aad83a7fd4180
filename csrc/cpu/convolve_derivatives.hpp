/// What the derivatives of convolutional units share: the slopes at the places, and D summed over cells.
#pragma once

#include "convolve_forms.hpp"
#include "convolve_squash.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// use(offset, vector) for each of an array of neighbouring vectors.
template <typename T, std::size_t size, typename Use>
__attribute__((always_inline)) inline void each_vector(const T (&vectors)[size], Use&& use) {
    [&]<int... j>(std::integer_sequence<int, j...>) {
        (use(std::int64_t{j} * static_cast<std::int64_t>(sizeof(T) / sizeof(vectors[0][0])), vectors[j]), ...);
    }(std::make_integer_sequence<int, size>{});
}

/// The parts of the form of a filter: a half and u for each term.
template <typename T>
class FormParts {
  public:
    explicit FormParts(const Forms<T>& forms) : forms_(forms), parts_(3 * forms.c.terms) {}
    /// The terms' parts from `first` on, with the halves (kFilters, terms, tall, wide) and u from the table (rows).
    void set(std::int64_t first, const T* halves, int which, const T* table) {
        for (std::int64_t t = 0; t < forms_.c.terms; ++t)
            parts_[first + t] = {halves + which * forms_.half_size() + t * forms_.tall * forms_.wide,
                                 table + forms_.u_row(t)};
    }
    const typename Forms<T>::Part* data() const { return parts_.data(); }

  private:
    const Forms<T>& forms_;
    std::vector<typename Forms<T>::Part> parts_;
};

/// sigma' at the places of a filter, times a factor for each cell: row r of places is row r stride of the image, with
/// patch_height - 1 rows of zeros before, so that sums over the patches of a pixel need no limits.  Lanes beyond the
/// last place are zero.
template <typename T>
class Slopes {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    explicit Slopes(const Forms<T>& forms)
        : forms_(forms),
          parts_(forms),
          slopes_((forms.tall + forms.c.patch_height - 1) * forms.wide, T(0)),
          factors_(forms.c.cells * forms.wide, T(0)) {
        set_factors([](std::int64_t) { return T(1); });
    }

    /// factor(cell) multiplies the slopes of a cell.
    template <typename Factor>
    void set_factors(Factor&& factor) {
        const std::int64_t columns = forms_.cell_columns, cells = forms_.c.cells;
        for (std::int64_t cell = 0; cell < forms_.cell_count(); ++cell)
            std::fill_n(factors_.data() + cell / cells * forms_.wide + cell % cells * columns, columns, factor(cell));
    }

    template <typename Sigma>
    void compute(Sigma sigma, int which, const T* table) {
        parts_.set(0, forms_.halves(), which, table);
        const std::int64_t apart = rows().apart;
        T* const first = slopes_.data() + (forms_.c.patch_height - 1) * forms_.wide;
        forms_.convolve_columns(parts_.data(), forms_.c.terms, table[forms_.c.rows() - 1],
                                [&](std::int64_t row, std::int64_t vector, const auto& q) {
                                    const T* const by = factors_.data() + forms_.of_cell_row[row] + vector * kLanes;
                                    T* const to = first + row * apart + vector * kLanes;
                                    each_vector(q, [&](std::int64_t k, Lanes<T> value) {
                                        Lanes<T> slope;
                                        sigma(value, slope);
                                        store(to + k, slope * load(by + k));
                                    });
                                });
    }

    Rows<T> rows(std::int64_t place_row = 0) const {
        const std::int64_t apart = forms_.c.stride * forms_.wide;
        return {slopes_.data() + (forms_.c.patch_height - 1) * forms_.wide + place_row * apart, apart};
    }

    /// back (height, wide): for each row of the image, the slopes of the places that see it, weighed with u.
    void spread(const T* u, T* back) {
        const std::int64_t h = forms_.c.patch_height, first = forms_.c.pad_rows, height = forms_.c.height;
        reversed_.assign(u, u + h);
        std::reverse(reversed_.begin(), reversed_.end());
        in_row_pairs<T>(height, forms_.vectors, T(0),
                        [&](std::int64_t r, std::int64_t next, std::int64_t at, auto& sums) {
                            const T* const x = slopes_.data() + first * forms_.wide + at * kLanes;
                            sums.add(x + r * forms_.wide, x + next * forms_.wide, reversed_.data(), {h, forms_.wide});
                            sums.write(back + r * forms_.wide + at * kLanes, back + next * forms_.wide + at * kLanes);
                        });
    }

  private:
    const Forms<T>& forms_;
    FormParts<T> parts_;
    Aligned<T> slopes_, factors_;
    std::vector<T> reversed_;
};

/// D of one image and a few filters: the places of a cell are summed in lanes for each of the parameters, then added
/// up.
template <typename T>
class CellDerivatives {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    explicit CellDerivatives(const Forms<T>& forms)
        : forms_(forms),
          c(forms.c),
          image_((c.mixed ? c.planes : 1) * forms.down * forms.row_size),
          ones_(forms.wide, T(1)),
          sums_(std::max(c.patch_height, c.patch_width) * forms.wide),
          padded_((c.rows() + kLanes - 1) / kLanes * kLanes),
          d_(kFilters * size(), T(0)) {}

    /// D (cells^2, rows) of a filter.
    void compute(const Slopes<T>& slopes, const T* table, int which) {
        T* const d = d_.data() + which * size();
        if (c.mixed)
            for (std::int64_t cell = 0; cell < forms_.cell_count(); ++cell)
                std::fill_n(d + cell * padded_ + forms_.mix_row(), c.planes, T(0));
        for (std::int64_t k = 0; k < c.cells; ++k) {
            const std::int64_t zero = 0;
            cells(slopes, k, {ones_.data(), 0}, &zero, 1, d + c.rows() - 1, [](T& to, T sum, auto) { to = sum; });
        }
        for (std::int64_t t = 0; t < c.terms; ++t) {
            const std::int64_t planes = c.mixed ? c.planes : 1, first = c.mixed ? 0 : t % c.planes;
            const std::int64_t plane_size = forms_.down * forms_.row_size;
            for (std::int64_t p = 0; p < planes; ++p)
                forms_.convolve_plane(forms_.plane(first + p), table + forms_.u_row(t), image_.data() + p * plane_size);
            for (std::int64_t k = 0; k < c.cells; ++k) {
                const std::int64_t apart = c.stride * forms_.wide, down = k * forms_.cell_rows;
                cells(slopes, k, {forms_.half(which, t) + down * apart, apart}, forms_.down_half.data(), c.patch_height,
                      d + forms_.u_row(t), [](T& to, T sum, auto) { to = sum; });
                for (std::int64_t p = 0; p < planes; ++p)
                    by_v_and_mix(slopes, k, {image_.data() + p * plane_size + down * forms_.row_size, forms_.row_size},
                                 table, t, p, d);
            }
        }
    }

    /// Writes what `count` filters from f on have on image n to d (n, cells^2, rows, filters).
    void write(std::int64_t n, std::int64_t f, std::int64_t count, T* d) const {
        T* to = d + n * forms_.cell_count() * c.rows() * c.filters + f;
        for (std::int64_t cell = 0; cell < forms_.cell_count(); ++cell)
            for (std::int64_t row = 0; row < c.rows(); ++row, to += c.filters)
                for (std::int64_t which = 0; which < count; ++which)
                    to[which] = d_[which * size() + cell * padded_ + row];
    }

    /// The same times the linear layer (filters, cells^2, outputs): j (n, outputs, rows, filters).
    void write_outputs(std::int64_t n, std::int64_t f, std::int64_t count, const T* layer, std::int64_t outputs, T* j) {
        const std::int64_t cells = forms_.cell_count();
        j += n * outputs * c.rows() * c.filters + f;
        outputs_.resize(kFilters * padded_);
        for (std::int64_t k = 0; k < outputs; ++k) {
            for (std::int64_t which = 0; which < count; ++which) {
                const T* const a = layer + (f + which) * cells * outputs + k;
                for (std::int64_t row = 0; row < padded_; row += kLanes) {
                    Lanes<T> sum{};
                    for (std::int64_t cell = 0; cell < cells; ++cell)
                        sum += everywhere(a[cell * outputs]) * load(d_.data() + which * size() + cell * padded_ + row);
                    store(outputs_.data() + which * padded_ + row, sum);
                }
            }
            for (std::int64_t row = 0; row < c.rows(); ++row, j += c.filters)
                for (std::int64_t which = 0; which < count; ++which) j[which] = outputs_[which * padded_ + row];
        }
    }

  private:
    std::int64_t size() const { return forms_.cell_count() * padded_; }

    void by_v_and_mix(const Slopes<T>& slopes, std::int64_t k, Rows<T> y, const T* table, std::int64_t t,
                      std::int64_t p, T* d) {
        const T* const v = table + forms_.v_row(t);
        const T m = c.mixed ? table[forms_.mix_row() + p] : T(1);
        const std::int64_t to_mix = forms_.mix_row() + p - forms_.v_row(t);
        cells(slopes, k, y, forms_.along.data(), c.patch_width, d + forms_.v_row(t),
              [&](T& to, T sum, std::int64_t tap) {
                  to = p ? to + m * sum : m * sum;
                  if (c.mixed) (&to)[to_mix - tap] += v[tap] * sum;
              });
    }

    /// use(to[cell padded + tap], mean of s y at the offset of the tap, tap) for each cell of row k of cells.
    template <typename Use>
    void cells(const Slopes<T>& slopes, std::int64_t k, Rows<T> y, const std::int64_t* offsets, std::int64_t taps,
               T* to, Use&& use) {
        std::fill_n(sums_.begin(), taps * forms_.wide, T(0));
        correlate<T, true>(slopes.rows(k * forms_.cell_rows), y, forms_.cell_rows, forms_.vectors, offsets, taps,
                           sums_.data());
        to += k * c.cells * padded_;
        for (std::int64_t tap = 0; tap < taps; ++tap)
            forms_.each_cell(sums_.data() + tap * forms_.wide,
                             [&](std::int64_t cell, T mean) { use(to[cell * padded_ + tap], mean, tap); });
    }

    const Forms<T>& forms_;
    const ConvolveCall& c;
    Aligned<T> image_, ones_, sums_;
    /// rows of D, a whole number of vectors, so that a vector of rows never reaches into the next cell
    const std::int64_t padded_;
    Aligned<T> d_, outputs_;
};

}  // namespace
}  // namespace varpro::VARPRO_ISA
