/// What the derivatives of convolutional units share: q and sigma' at the places, and D summed over areas.
#pragma once

#include "convolve_forms.hpp"
#include "convolve_squash.hpp"

namespace varpro::VARPRO_ISA {
namespace {

/// A filter at the places (down, across, lanes) of the images: q, and what becomes of it in place.
template <typename T>
class Places {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    explicit Places(Forms<T>& forms) : forms_(forms), halves_(forms.new_halves()), q_(forms.places() * kLanes) {}

    /// q of a filter, whose halves stay.
    void compute(const T* table) {
        forms_.convolve_rows(table, table, halves_.data());
        parts_.clear();
        add_parts(forms_, halves_.data(), table, parts_);
        forms_.convolve_columns(parts_, table[forms_.c.rows() - 1], q_.data());
    }
    /// q = change(q), vector by vector.
    template <typename Change>
    void change(Change&& change) {
        for (T* at = q_.data(); at != q_.data() + q_.size(); at += kLanes) store(at, change(load(at)));
    }
    T* data() { return q_.data(); }
    const T* halves() const { return halves_.data(); }

  private:
    Forms<T>& forms_;
    std::vector<typename Forms<T>::Part> parts_;
    Aligned<T> halves_, q_;
};

/// The derivative of a sum over an area of s_place q_place by the parameters of a filter, s being the slopes.
template <typename T>
class Derivatives {
    static constexpr std::int64_t kLanes = LanesOf<T>::count;

  public:
    /// halves : where those of a filter will lie.
    Derivatives(const Forms<T>& forms, const T* halves)
        : forms_(forms),
          halves_(halves),
          c(forms.c),
          images_(c.terms * planes()),
          fields_(images_.size()),
          ones_(kLanes, T(1)) {}
    Derivatives(const Derivatives&) = delete;  // fields_ point into images_
    Derivatives& operator=(const Derivatives&) = delete;

    /// Prepares a filter, whose halves are there.
    void filter(const T* table) {
        table_ = table;
        for (std::int64_t t = 0; t < c.terms; ++t)
            for (std::int64_t p = 0; p < planes(); ++p) {
                const std::int64_t at = t * planes() + p;
                fields_[at] = forms_.convolve_plane(c.mixed ? p : t % c.planes, table + forms_.u_row(t), images_[at]);
            }
    }

    /// d (rows, lanes) of an area.
    void compute(const T* s, Area area, T* d) const {
        const auto of = [&](const Field<T>& y, std::int64_t taps, auto&& use) {
            correlate(s, forms_.across, y, area, taps, use);
        };
        const auto to = [&](std::int64_t row) { return d + row * kLanes; };
        of({ones_.data(), 0, 0, 0}, 1, [&](std::int64_t, Lanes<T> sum) { store(to(c.rows() - 1), sum); });
        for (std::int64_t p = 0; c.mixed && p < c.planes; ++p) store(to(forms_.mix_row() + p), Lanes<T>{});
        for (std::int64_t t = 0; t < c.terms; ++t) {
            const std::int64_t u = forms_.u_row(t);
            of(forms_.down_half(halves_ + t * forms_.half_size()), c.patch_height,
               [&](std::int64_t k, Lanes<T> sum) { store(to(u + k), sum); });
            for (std::int64_t p = 0; p < planes(); ++p) of(fields_[t * planes() + p], c.patch_width, by_v(t, p, d));
        }
    }

  private:
    std::int64_t planes() const { return c.mixed ? c.planes : 1; }

    /// Stores sums on plane p at the taps of v: sum_p m_p of them by v, sum_k v_k of them by the plane's weight.
    auto by_v(std::int64_t t, std::int64_t p, T* d) const {
        T* const of_v = d + forms_.v_row(t) * kLanes;
        T* const of_mix = d + (forms_.mix_row() + p) * kLanes;
        const T* const v = table_ + forms_.v_row(t);
        const T m = c.mixed ? table_[forms_.mix_row() + p] : T(1);
        return [=, mixed = c.mixed](std::int64_t k, Lanes<T> sum) {
            T* const at = of_v + k * kLanes;
            if (!mixed) return store(at, sum);
            store(at, p ? load(at) + everywhere(m) * sum : everywhere(m) * sum);
            store(of_mix, load(of_mix) + everywhere(v[k]) * sum);
        };
    }

    const Forms<T>& forms_;
    const T* const halves_;
    const ConvolveCall& c;
    std::vector<Aligned<T>> images_;
    std::vector<Field<T>> fields_;
    Aligned<T> ones_;
    const T* table_ = nullptr;
};

}  // namespace
}  // namespace varpro::VARPRO_ISA
