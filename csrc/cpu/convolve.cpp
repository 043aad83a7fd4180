// Convolutional units.
#include "../kernels/convolve.hpp"

#include "convolve_forms.hpp"
#include "convolve_squash.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// Sums over the places of each cell, of one filter on one image: rows of a cell are added up place by place, and the
/// places of a row cell by cell at the end.
template <typename T>
class CellSums {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    explicit CellSums(const Forms<T>& forms) : forms_(forms), rows_(forms.c.cells * forms.wide) {
        for (std::int64_t r = 0; r < forms.down; ++r) start_.push_back(r / forms.cell_rows() * forms.wide);
    }
    void clear() { std::fill(rows_.begin(), rows_.end(), T(0)); }
    /// Where to add up a row of places from a vector on.
    T* at(std::int64_t row, std::int64_t vector) { return rows_.data() + start_[row] + vector * kLanes; }
    /// means (cells^2)
    void means(T* to) const {
        const std::int64_t columns = columns_, cells = forms_.c.cells;
        const T factor = mean_;
        for (std::int64_t down = 0; down < cells; ++down) {
            const T* from = rows_.data() + down * forms_.wide;
            for (std::int64_t cell = 0; cell < cells; ++cell, from += columns) {
                T sum = from[0];
                for (std::int64_t k = 1; k < columns; ++k) sum += from[k];
                *to++ = sum * factor;
            }
        }
    }

  private:
    const Forms<T>& forms_;
    const std::int64_t columns_ = forms_.cell_columns();
    const T mean_ = forms_.mean();
    Aligned<T> rows_;
    std::vector<std::int64_t> start_;
};

/// each(n, filter, which of those in `forms`) for every filter on every image.
template <typename T, typename Each>
void for_each_filter(Forms<T>& forms, Each&& each) {
    for (std::int64_t n = 0; n < forms.c.n; ++n) {
        forms.image(n);
        for (std::int64_t f = 0; f < forms.c.filters; f += kFilters) {
            forms.filters(f);
            for (int which = 0; which < std::min<std::int64_t>(kFilters, forms.c.filters - f); ++which)
                each(n, f + which, which);
        }
    }
}

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

template <typename T>
void values(const ConvolveCall& c, const T* w, T* phi) {
    Forms<T> forms(c, w);
    CellSums<T> sums(forms);
    FormParts<T> parts(forms);
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t f, int which) {
            parts.set(0, forms.halves(), which, forms.weights(f));
            sums.clear();
            forms.convolve_columns(parts.data(), c.terms, forms.weights(f)[c.rows() - 1],
                                   [&](std::int64_t row, std::int64_t vector, const auto& q) {
                                       T* const at = sums.at(row, vector);
                                       each_vector(q, [&](std::int64_t k, Lanes<T> value) {
                                           Lanes<T> slope;
                                           store(at + k, load(at + k) + sigma(value, slope));
                                       });
                                   });
            sums.means(phi + (n * c.filters + f) * forms.cell_count());
        });
    });
}

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
        for (std::int64_t r = 0; r < forms.down; ++r) factors_at_.push_back(r / forms.cell_rows() * forms.wide);
        set_factors([](std::int64_t) { return T(1); });
    }

    /// factor(cell) multiplies the slopes of a cell.
    template <typename Factor>
    void set_factors(Factor&& factor) {
        const std::int64_t columns = forms_.cell_columns(), cells = forms_.c.cells;
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
                                    const T* const by = factors_.data() + factors_at_[row] + vector * kLanes;
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
    std::vector<std::int64_t> factors_at_;
};

/// dq = sum_t du on the half + u on what becomes of the half by dv, and by the change of the mix.
template <typename T>
void tangent(const ConvolveCall& c, const T* w, const T* dw, T* slope) {
    Forms<T> forms(c, w);
    const Aligned<T> directions = forms.transposed(dw);
    Aligned<T> by_v(kFilters * forms.half_size(), T(0)), by_mix(c.mixed ? by_v.size() : 0, T(0));
    CellSums<T> sums(forms);
    Slopes<T> slopes(forms);
    FormParts<T> parts(forms);
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t f, int which) {
            const T *const table = forms.weights(f), *const direction = directions.data() + f * c.rows();
            slopes.compute(sigma, which, table);
            if (which == 0) {
                const auto own = forms.tables_from(forms.tables(), f), along = forms.tables_from(directions, f);
                forms.convolve_rows(own, along, by_v.data());
                if (c.mixed) forms.convolve_rows(along, own, by_mix.data());
            }
            parts.set(0, forms.halves(), which, direction);
            parts.set(c.terms, by_v.data(), which, table);
            if (c.mixed) parts.set(2 * c.terms, by_mix.data(), which, table);
            sums.clear();
            const Rows<T> of = slopes.rows();
            forms.convolve_columns(parts.data(), (c.mixed ? 3 : 2) * c.terms, direction[c.rows() - 1],
                                   [&](std::int64_t row, std::int64_t vector, const auto& dq) {
                                       T* const at = sums.at(row, vector);
                                       const T* const by = of.data + row * of.apart + vector * LanesOf<T>::count;
                                       each_vector(dq, [&](std::int64_t k, Lanes<T> value) {
                                           store(at + k, load(at + k) + value * load(by + k));
                                       });
                                   });
            sums.means(slope + (n * c.filters + f) * forms.cell_count());
        });
    });
}

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
          d_(kFilters * size()) {}

    /// d (cells^2, rows) of a filter.
    void compute(const Slopes<T>& slopes, const T* table, int which) {
        T* const d = d_.data() + which * size();
        if (c.mixed)
            for (std::int64_t cell = 0; cell < forms_.cell_count(); ++cell)
                std::fill_n(d + cell * c.rows() + forms_.mix_row(), c.planes, T(0));
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
                const std::int64_t apart = c.stride * forms_.wide, down = k * forms_.cell_rows();
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
        T* to = d + n * size() * c.filters + f;
        for (std::int64_t k = 0; k < size(); ++k, to += c.filters)
            for (std::int64_t which = 0; which < count; ++which) to[which] = d_[which * size() + k];
    }

  private:
    std::int64_t size() const { return forms_.cell_count() * c.rows(); }

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

    /// use(to[cell rows + tap], mean of s y at the offset of the tap, tap) for each cell of row k of cells.
    template <typename Use>
    void cells(const Slopes<T>& slopes, std::int64_t k, Rows<T> y, const std::int64_t* offsets, std::int64_t taps,
               T* to, Use&& use) {
        std::fill_n(sums_.begin(), taps * forms_.wide, T(0));
        correlate<T, true>(slopes.rows(k * forms_.cell_rows()), y, forms_.cell_rows(), forms_.vectors, offsets, taps,
                           sums_.data());
        const std::int64_t columns = forms_.cell_columns(), rows = c.rows();
        const T mean = forms_.mean();
        to += k * c.cells * rows;
        for (std::int64_t tap = 0; tap < taps; ++tap) {
            const T* from = sums_.data() + tap * forms_.wide;
            for (std::int64_t cell = 0; cell < c.cells; ++cell, from += columns) {
                T sum = from[0];
                for (std::int64_t place = 1; place < columns; ++place) sum += from[place];
                use(to[cell * rows + tap], sum * mean, tap);
            }
        }
    }

    const Forms<T>& forms_;
    const ConvolveCall& c;
    Aligned<T> image_, ones_, sums_, d_;
};

template <typename T>
void jacobian(const ConvolveCall& c, const T* w, T* d) {
    Forms<T> forms(c, w);
    Slopes<T> slopes(forms);
    CellDerivatives<T> derivatives(forms);
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t f, int which) {
            slopes.compute(sigma, which, forms.weights(f));
            derivatives.compute(slopes, forms.weights(f), which);
            if (which + 1 == kFilters || f + 1 == c.filters) derivatives.write(n, f - which, which + 1, d);
        });
    });
}

/// With s the weighed slopes and t their sums over the patches of a pixel's row: by u, s on the half; by v and by the
/// mix, c_p[k] = t on plane p at tap k: sum_p m_p c_p and sum_k v_k c_p[k].
template <typename T>
void contract(const ConvolveCall& c, const T* w, const T* b, double* gradient) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    Forms<T> forms(c, w);
    Slopes<T> slopes(forms);
    Aligned<T> sums(std::max(c.patch_height, c.patch_width) * lanes), back(c.height * forms.wide),
        ones(forms.wide, T(1));
    const std::int64_t zero = 0;
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t f, int which) {
            const T *const table = forms.weights(f), *const of_filter = b + (n * c.filters + f) * forms.cell_count();
            slopes.set_factors([&](std::int64_t cell) { return of_filter[cell] * forms.mean(); });
            slopes.compute(sigma, which, table);
            const auto total = [&](Rows<T> s, Rows<T> y, std::int64_t rows, const std::int64_t* offsets,
                                   std::int64_t taps, auto&& use) {
                std::fill_n(sums.begin(), taps * lanes, T(0));
                correlate<T, false>(s, y, rows, forms.vectors, offsets, taps, sums.data());
                for (std::int64_t k = 0; k < taps; ++k) use(k, static_cast<double>(sum(load(sums.data() + k * lanes))));
            };
            const auto to = [&](std::int64_t row) -> double& { return gradient[row * c.filters + f]; };
            total(slopes.rows(), {ones.data(), 0}, forms.down, &zero, 1,
                  [&](std::int64_t, double sum) { to(c.rows() - 1) += sum; });
            for (std::int64_t t = 0; t < c.terms; ++t) {
                const std::int64_t u_row = forms.u_row(t), v_row = forms.v_row(t);
                total(slopes.rows(), {forms.half(which, t), c.stride * forms.wide}, forms.down, forms.down_half.data(),
                      c.patch_height, [&](std::int64_t k, double sum) { to(u_row + k) += sum; });
                slopes.spread(table + u_row, back.data());
                for (std::int64_t p = 0; p < (c.mixed ? c.planes : 1); ++p) {
                    const double m = c.mixed ? table[forms.mix_row() + p] : T(1);
                    const T* const x = forms.plane(c.mixed ? p : t % c.planes) + c.pad_rows * forms.row_size;
                    total({back.data(), forms.wide}, {x, forms.row_size}, c.height, forms.along.data(), c.patch_width,
                          [&](std::int64_t k, double sum) {
                              to(v_row + k) += m * sum;
                              if (c.mixed) to(forms.mix_row() + p) += table[v_row + k] * sum;
                          });
                }
            }
        });
    });
}

}  // namespace

#define VARPRO_DEFINE_CONVOLVE(T)                                                                                   \
    void convolve_values(const ConvolveCall& call, const T* w, T* phi) { values(call, w, phi); }                    \
    void convolve_jacobian(const ConvolveCall& call, const T* w, T* d) { jacobian(call, w, d); }                    \
    void convolve_tangent(const ConvolveCall& call, const T* w, const T* dw, T* out) { tangent(call, w, dw, out); } \
    void convolve_contract(const ConvolveCall& call, const T* w, const T* b, double* out) { contract(call, w, b, out); }

VARPRO_DEFINE_CONVOLVE(float)
VARPRO_DEFINE_CONVOLVE(double)

}  // namespace varpro::VARPRO_ISA
