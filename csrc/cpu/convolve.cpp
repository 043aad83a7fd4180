// Convolutional units.
#include "../kernels/convolve.hpp"

#include "convolve_derivatives.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// each(first image, how many, filter) for every filter on as many images as there are lanes.
template <typename T, typename Each>
void for_each_filter(Forms<T>& forms, Each&& each) {
    for (std::int64_t n = 0; n < forms.c.n; n += Forms<T>::kLanes) {
        const std::int64_t count = forms.images(n);
        for (std::int64_t f = 0; f < forms.c.filters; ++f) each(n, count, f);
    }
}

/// Means over the cells of what a filter has at the places, summed down a row of cells, then across each of them.
template <typename T>
class CellMeans {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    explicit CellMeans(const Forms<T>& forms)
        : forms_(forms), columns_(forms.across * kLanes), means_(forms.c.cells() * kLanes) {}

    /// The rows of places in a row of cells.
    std::int64_t rows() const { return forms_.down / forms_.c.cells_down; }
    /// Begins a row of cells: the sum over its rows at each of the places across, (across, lanes), zero.
    T* begin() {
        std::fill(columns_.begin(), columns_.end(), T(0));
        return columns_.data();
    }
    /// Ends it: the means are `mean` times the sums.
    void end(std::int64_t below, T mean) {
        const std::int64_t count = forms_.c.cells_across, columns = forms_.across / count;
        const T* from = columns_.data();
        for (std::int64_t right = 0; right < count; ++right) {
            Lanes<T> sum{};
            for (std::int64_t i = 0; i < columns; ++i, from += kLanes) sum += load(from);
            store(means_.data() + (below * count + right) * kLanes, sum * mean);
        }
    }
    /// To (n, filters, cells).
    void write(std::int64_t n, std::int64_t count, std::int64_t f, T* to) const {
        const std::int64_t cells = forms_.c.cells(), filters = forms_.c.filters;
        write_by_lane(means_.data(), kLanes, cells, count, to + (n * filters + f) * cells, filters * cells);
    }

  private:
    const Forms<T>& forms_;
    Aligned<T> columns_, means_;
};

/// The columns of a filter, from the rows of a half to the cells' means while all of it is in the first cache.
template <typename T>
struct FilterValues {
    explicit FilterValues(const Forms<T>& forms) : halves(forms.new_halves()), means(forms) {}

    Aligned<T> halves;
    CellMeans<T> means;
    std::vector<typename Forms<T>::Part> parts;

    /// One row of cells of a filter, whose halves are known as far as it needs them.
    template <typename Sigma>
    void cells(const Forms<T>& forms, const T* table, std::int64_t below, Sigma sigma) {
        constexpr std::int64_t lanes = LanesOf<T>::count;
        T* const columns = means.begin();
        const std::int64_t top = below * means.rows();
        forms.convolve_columns(parts, table[forms.c.rows() - 1], top, top + means.rows(),
                               [&]<int... j>(std::int64_t, std::int64_t column, const PlaceSums<T, 1, j...>& sums) {
                                   T* const to = columns + column * lanes;
                                   ((store(to + j * lanes, load(to + j * lanes) + sigma.value(sums.sums[0][j]))), ...);
                               });
        means.end(below, forms.mean() * sigma.unit);
    }
};

/// Two filters at a time share what is loaded of the images, unless each has its own mix.
template <typename T>
void values(const ConvolveCall& c, const T* w, T* phi) {
    Forms<T> forms(c, w);
    FilterValues<T> of[] = {FilterValues<T>(forms), FilterValues<T>(forms)};
    with_squash<T>(c, [&](auto sigma) {
        const auto filters = [&]<int... k>(std::int64_t n, std::int64_t count, std::int64_t f,
                                           std::integer_sequence<int, k...>) {
            const T* const tables[] = {forms.weights(f + k)...};
            if (c.mixed) forms.mixed(tables[0]);
            ((of[k].parts.clear(), add_parts(forms, of[k].halves.data(), tables[k], of[k].parts)), ...);
            std::int64_t done = forms.met(0).first;
            for (std::int64_t below = 0; below < c.cells_down; ++below) {
                const std::int64_t needed = forms.met((below + 1) * of[0].means.rows() - 1).second;
                if (needed > done) forms.convolve_rows(done, needed, tables, {of[k].halves.data()...});
                done = std::max(done, needed);
                (of[k].cells(forms, tables[k], below, sigma), ...);
            }
            (of[k].means.write(n, count, f + k, phi), ...);
        };
        for (std::int64_t n = 0; n < c.n; n += Forms<T>::kLanes) {
            const std::int64_t count = forms.images(n);
            std::int64_t f = 0;
            for (; !c.mixed && f + 1 < c.filters; f += 2) filters(n, count, f, std::make_integer_sequence<int, 2>{});
            for (; f < c.filters; ++f) filters(n, count, f, std::make_integer_sequence<int, 1>{});
        }
    });
}

/// dq = sum_t du on the half + u on what becomes of the half by dv, and by the change of the mix.
template <typename T>
void tangent(const ConvolveCall& c, const T* w, const T* dw, T* slope) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    Forms<T> forms(c, w);
    const Aligned<T> directions = forms.transposed(dw);
    Aligned<T> by_v = forms.new_halves(), by_mix = c.mixed ? forms.new_halves() : Aligned<T>();
    Places<T> places(forms);
    CellMeans<T> means(forms);
    std::vector<typename Forms<T>::Part> parts;
    Aligned<T> along(forms.places() * lanes);
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t count, std::int64_t f) {
            const T *const table = forms.weights(f), *const direction = directions.data() + f * c.rows();
            places.compute(table);
            parts.clear();
            add_parts(forms, places.halves(), direction, parts);
            forms.convolve_rows(table, direction, by_v.data());
            add_parts(forms, by_v.data(), table, parts);
            if (c.mixed) {
                forms.convolve_rows(direction, table, by_mix.data());
                add_parts(forms, by_mix.data(), table, parts);
            }
            forms.convolve_columns(parts, direction[c.rows() - 1], along.data());
            const T* dq = along.data();
            places.change([&](Lanes<T> q) {
                Lanes<T> by;
                sigma(q, by);
                by *= load(dq);
                dq += lanes;
                return by;
            });
            const T* from = places.data();
            for (std::int64_t below = 0; below < c.cells_down; ++below) {
                T* const columns = means.begin();
                for (std::int64_t r = 0; r < means.rows(); ++r)
                    for (T* to = columns; to != columns + forms.across * lanes; to += lanes, from += lanes)
                        store(to, load(to) + load(from));
                means.end(below, forms.mean());
            }
            means.write(n, count, f, slope);
        });
    });
}

/// Collects what a few filters give for the same images, (count, rows, lanes) of each, and writes all of it side by
/// side: to (n, count, rows, filters), where the (rows, filters) of the next of the count begin `apart` further on.
template <typename T>
class ByFilter {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;
    static constexpr int square = kSquare<T>;

  public:
    ByFilter(const Forms<T>& forms, std::int64_t count, std::int64_t apart)
        : c(forms.c), count_(count), apart_(apart), size_(count * c.rows() * kLanes), held_(square * size_) {}
    T* at(std::int64_t f) { return held_.data() + f % square * size_; }
    /// Filter f of the images from n on is complete.
    void add(std::int64_t n, std::int64_t images, std::int64_t f, T* to) const {
        const std::int64_t last = f % square + 1;
        if (last < square && f + 1 < c.filters) return;
        const T* from = held_.data();
        to += n * count_ * apart_ + f + 1 - last;
        for (std::int64_t k = 0; k < count_; ++k, to += apart_)
            for (std::int64_t row = 0; row < c.rows(); ++row, from += kLanes)
                write_by_lane(from, size_, last, images, to + row * c.filters, count_ * apart_);
    }

  private:
    const ConvolveCall& c;
    const std::int64_t count_, apart_, size_;
    Aligned<T> held_;
};

/// D (cells, rows, lanes) of each filter to where(filter); then use(first image, how many, filter).
template <typename T, typename Where, typename Use>
void derivatives(Forms<T>& forms, Where&& where, Use&& use) {
    const ConvolveCall& c = forms.c;
    const std::int64_t size = c.rows() * LanesOf<T>::count;
    Places<T> places(forms);
    Derivatives<T> of(forms, places.halves());
    const T mean = forms.mean();
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t count, std::int64_t f) {
            places.compute(forms.weights(f));
            of.filter(forms.weights(f));
            places.change([&](Lanes<T> q) {
                Lanes<T> slope;
                sigma(q, slope);
                return slope * mean;
            });
            T* const d = where(f);
            forms.each_cell([&](std::int64_t cell, Area area) { of.compute(places.data(), area, d + cell * size); });
            use(n, count, f);
        });
    });
}

template <typename T>
void jacobian(const ConvolveCall& c, const T* w, T* to) {
    Forms<T> forms(c, w);
    ByFilter<T> by_filter(forms, forms.c.cells(), c.rows() * c.filters);
    derivatives(
        forms, [&](std::int64_t f) { return by_filter.at(f); },
        [&](std::int64_t n, std::int64_t count, std::int64_t f) { by_filter.add(n, count, f, to); });
}

template <typename T>
void layer_jacobian(const ConvolveCall& c, const T* w, const T* layer, std::int64_t outputs, T* j, std::int64_t apart) {
    Forms<T> forms(c, w);
    const std::int64_t cells = forms.c.cells();
    ByFilter<T> by_filter(forms, outputs, apart);
    Aligned<T> d(cells * c.rows() * LanesOf<T>::count);
    derivatives(
        forms, [&](std::int64_t) { return d.data(); },
        [&](std::int64_t n, std::int64_t count, std::int64_t f) {
            times_layer(d.data(), cells, c.rows(), layer + f * cells * outputs, outputs, by_filter.at(f));
            by_filter.add(n, count, f, j);
        });
}

template <typename T>
void contract(const ConvolveCall& c, const T* w, const T* b, double* gradient) {
    constexpr std::int64_t lanes = LanesOf<T>::count;
    Forms<T> forms(c, w);
    Places<T> places(forms);
    Derivatives<T> of(forms, places.halves());
    Aligned<T> factors(forms.c.cells() * lanes, T(0)), d(c.rows() * lanes);
    const Area everything{0, 0, forms.down, forms.across};
    const T mean = forms.mean();
    with_squash<T>(c, [&](auto sigma) {
        for_each_filter(forms, [&](std::int64_t n, std::int64_t count, std::int64_t f) {
            const std::int64_t cells = forms.c.cells();
            for (std::int64_t lane = 0; lane < count; ++lane)
                for (std::int64_t cell = 0; cell < cells; ++cell)
                    factors[cell * lanes + lane] = b[((n + lane) * c.filters + f) * cells + cell] * mean;
            places.compute(forms.weights(f));
            of.filter(forms.weights(f));
            forms.each_cell([&](std::int64_t cell, Area area) {
                const Lanes<T> factor = load(factors.data() + cell * lanes);
                for (std::int64_t r = area.row; r < area.row + area.rows; ++r) {
                    T* at = places.data() + (r * forms.across + area.column) * lanes;
                    for (std::int64_t i = 0; i < area.columns; ++i, at += lanes) {
                        Lanes<T> slope;
                        sigma(load(at), slope);
                        store(at, slope * factor);
                    }
                }
            });
            of.compute(places.data(), everything, d.data());
            for (std::int64_t row = 0; row < c.rows(); ++row)
                for (std::int64_t lane = 0; lane < count; ++lane)
                    gradient[row * c.filters + f] += static_cast<double>(d[row * lanes + lane]);
        });
    });
}

}  // namespace

#define VARPRO_DEFINE_CONVOLVE(T)                                                                                   \
    void convolve_values(const ConvolveCall& call, const T* w, T* phi) { values(call, w, phi); }                    \
    void convolve_jacobian(const ConvolveCall& call, const T* w, T* d) { jacobian(call, w, d); }                    \
    void convolve_layer_jacobian(const ConvolveCall& call, const T* w, const T* layer, std::int64_t outputs, T* j,  \
                                 std::int64_t apart) {                                                              \
        layer_jacobian(call, w, layer, outputs, j, apart);                                                          \
    }                                                                                                               \
    void convolve_tangent(const ConvolveCall& call, const T* w, const T* dw, T* out) { tangent(call, w, dw, out); } \
    void convolve_contract(const ConvolveCall& call, const T* w, const T* b, double* out) { contract(call, w, b, out); }

VARPRO_DEFINE_CONVOLVE(float)
VARPRO_DEFINE_CONVOLVE(double)

}  // namespace varpro::VARPRO_ISA
