// Convolutional units.
#include "../kernels/convolve.hpp"

#include "convolve_derivatives.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// Sums over the places of each cell, of one filter on one image: rows of a cell are added up place by place, and the
/// places of a row cell by cell at the end.
template <typename T>
class CellSums {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    explicit CellSums(const Forms<T>& forms) : forms_(forms), rows_(forms.c.cells * forms.wide) {}
    void clear() { std::fill(rows_.begin(), rows_.end(), T(0)); }
    /// Where to add up a row of places from a vector on.
    T* at(std::int64_t row, std::int64_t vector) { return rows_.data() + forms_.of_cell_row[row] + vector * kLanes; }
    /// means (cells^2)
    void means(T* to) const {
        for (std::int64_t down = 0; down < forms_.c.cells; ++down)
            forms_.each_cell(rows_.data() + down * forms_.wide, [&](std::int64_t, T mean) { *to++ = mean; });
    }

  private:
    const Forms<T>& forms_;
    Aligned<T> rows_;
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

/// write(derivatives, image, first filter, how many filters) when D of these is known.
template <typename T, typename Write>
void derivatives(const ConvolveCall& c, const T* w, Write&& write) {
    Forms<T> forms(c, w);
    Slopes<T> slopes(forms);
    CellDerivatives<T> d(forms);
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t f, int which) {
            slopes.compute(sigma, which, forms.weights(f));
            d.compute(slopes, forms.weights(f), which);
            if (which + 1 == kFilters || f + 1 == c.filters) write(d, n, f - which, which + 1);
        });
    });
}

template <typename T>
void jacobian(const ConvolveCall& c, const T* w, T* to) {
    derivatives(c, w,
                [&](const auto& d, std::int64_t n, std::int64_t f, std::int64_t count) { d.write(n, f, count, to); });
}

template <typename T>
void layer_jacobian(const ConvolveCall& c, const T* w, const T* layer, std::int64_t outputs, T* j) {
    derivatives(c, w, [&](auto& d, std::int64_t n, std::int64_t f, std::int64_t count) {
        d.write_outputs(n, f, count, layer, outputs, j);
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
            slopes.set_factors([&](std::int64_t cell) { return of_filter[cell] * forms.mean; });
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

#define VARPRO_DEFINE_CONVOLVE(T)                                                                                    \
    void convolve_values(const ConvolveCall& call, const T* w, T* phi) { values(call, w, phi); }                     \
    void convolve_jacobian(const ConvolveCall& call, const T* w, T* d) { jacobian(call, w, d); }                     \
    void convolve_layer_jacobian(const ConvolveCall& call, const T* w, const T* layer, std::int64_t outputs, T* j) { \
        layer_jacobian(call, w, layer, outputs, j);                                                                  \
    }                                                                                                                \
    void convolve_tangent(const ConvolveCall& call, const T* w, const T* dw, T* out) { tangent(call, w, dw, out); }  \
    void convolve_contract(const ConvolveCall& call, const T* w, const T* b, double* out) { contract(call, w, b, out); }

VARPRO_DEFINE_CONVOLVE(float)
VARPRO_DEFINE_CONVOLVE(double)

}  // namespace varpro::VARPRO_ISA
