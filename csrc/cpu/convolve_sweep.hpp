/// A group of filters moves down an image.  The last patch_height rows of everything that rows further down need are
/// kept in rings that stay in the first-level cache: the planes, their mix, and both convolved with v.
#pragma once

#include "../kernels/convolve.hpp"
#include "aligned.hpp"
#include "convolve_rows.hpp"

namespace varpro::VARPRO_ISA {
namespace {

template <typename T>
class Sweep {
    static constexpr std::int64_t kWide = kGroup<T>;

  public:
    /// derivative: whether the planes of a mix are also convolved one by one.
    Sweep(const ConvolveCall& call, bool derivative)
        : c(call),
          padded(call.width + 2 * call.pad_columns),
          down((call.height + 2 * call.pad_rows - call.patch_height) / call.stride + 1),
          across((padded - call.patch_width) / call.stride + 1),
          cell_rows(down / call.cells),
          cell_columns(across / call.cells),
          each_plane_(derivative && call.mixed),
          kept_(derivative ? call.patch_height : 1),
          planes_(call.planes * kept_ * padded * kWide),
          mix_(call.mixed ? kept_ * padded * kWide : 0),
          half_(call.terms * call.patch_height * across * kWide),
          plane_half_(each_plane_ ? call.terms * call.planes * call.patch_height * across * kWide : 0),
          tables_((call.filters + kWide - 1) / kWide * call.rows() * kWide),
          pixels_(call.planes * call.height * call.width),
          q_(across * kWide),
          other_(padded * kWide),
          zeros_(kWide) {}

    const ConvolveCall& c;
    const std::int64_t padded, down, across, cell_rows, cell_columns;

    T mean() const { return T(1) / static_cast<T>(cell_rows * cell_columns); }
    std::int64_t cell_count() const { return c.cells * c.cells; }
    static std::int64_t filters_at(const ConvolveCall& c, std::int64_t first) {
        return std::min(kWide, c.filters - first);
    }

    /// A table (rows, filters) as (groups, rows, kGroup), with zeros in lanes without a filter.
    Aligned<T> grouped(const T* table) const {
        Aligned<T> out(tables_.size(), T(0));
        for (std::int64_t first = 0; first < c.filters; first += kWide)
            for (std::int64_t row = 0; row < c.rows(); ++row)
                std::copy_n(table + row * c.filters + first, filters_at(c, first),
                            out.data() + (first * c.rows() + row * kWide));
        return out;
    }
    void filters(const T* w) { tables_ = grouped(w); }

    /// Reads an image, once for all groups.
    void image(std::int64_t n) {
        const std::int64_t size = c.planes * c.height * c.width;
        if (c.pixel == Pixel::u8) {
            const auto* from = static_cast<const unsigned char*>(c.x) + n * size;
            for (std::int64_t k = 0; k < size; ++k) pixels_[k] = static_cast<T>(from[k]) * (T(1) / T(255));
        } else if (c.pixel == Pixel::f32) {
            std::copy_n(static_cast<const float*>(c.x) + n * size, size, pixels_.data());
        } else {
            std::copy_n(static_cast<const double*>(c.x) + n * size, size, pixels_.data());
        }
    }

    /// Starts at the top of the image with the group of filters from `first` on.
    void group(std::int64_t first) {
        weights_ = tables_.data() + first * c.rows();
        next_ = 0;
    }

    /// q (across, kGroup) of a row of places; rows come in order.
    T* row(std::int64_t place) {
        first_tap_ = std::max<std::int64_t>(0, c.pad_rows - place * c.stride);
        top_ = place * c.stride - c.pad_rows;
        taps_ = std::max<std::int64_t>(0, std::min(c.patch_height, c.height - top_) - first_tap_);
        for (const std::int64_t end = std::min(top_ + c.patch_height, c.height); next_ < end; ++next_) load_row(next_);
        for (std::int64_t t = 0; t < c.terms; ++t) {
            ring(half_.data() + t * c.patch_height * across * kWide, across);
            combine(t ? nullptr : weights_ + (c.rows() - 1) * kWide, rows_, 1,
                    weights_ + (u_row(t) + first_tap_) * kWide, taps_, across, q_.data());
        }
        return q_.data();
    }

    /// The derivatives of q at the present row of places, (across, kGroup) each and a place apart by a stride: calls
    /// each(first row of the table, rows, pointers, step).
    template <typename Each>
    void derivatives(Each&& each) {
        for (std::int64_t t = 0; t < c.terms; ++t) {
            ring(half_.data() + t * c.patch_height * across * kWide, across);
            each(u_row(t) + first_tap_, taps_, rows_, std::int64_t{1});
            ring(source(t), padded);
            combine(zeros_.data(), rows_, 1, weights_ + (u_row(t) + first_tap_) * kWide, taps_, padded, other_.data());
            for (std::int64_t k = 0; k < c.patch_width; ++k) rows_[k] = other_.data() + k * kWide;
            each(v_row(t), c.patch_width, rows_, c.stride);
        }
        for (std::int64_t p = 0; p < (c.mixed ? c.planes : 0); ++p) {
            for (std::int64_t t = 0; t < c.terms; ++t) {
                ring(plane_half(t, p), across);
                combine(t ? nullptr : zeros_.data(), rows_, 1, weights_ + (u_row(t) + first_tap_) * kWide, taps_,
                        across, other_.data());
            }
            rows_[0] = other_.data();
            each(c.rows() - 1 - c.planes + p, std::int64_t{1}, rows_, std::int64_t{1});
        }
    }

  private:
    std::int64_t u_row(std::int64_t t) const { return t * (c.patch_height + c.patch_width); }
    std::int64_t v_row(std::int64_t t) const { return u_row(t) + c.patch_height; }
    T* plane(std::int64_t p) { return planes_.data() + p * kept_ * padded * kWide; }
    T* source(std::int64_t t) { return c.mixed ? mix_.data() : plane(t % c.planes); }
    T* plane_half(std::int64_t t, std::int64_t p) {
        return plane_half_.data() + (t * c.planes + p) * c.patch_height * across * kWide;
    }
    std::int64_t slot(std::int64_t row) const { return row % c.patch_height; }

    /// rows_ = the rows of a ring that the taps of the present places see.
    void ring(const T* from, std::int64_t width) {
        for (std::int64_t k = 0; k < taps_; ++k) rows_[k] = from + slot(top_ + first_tap_ + k) * width * kWide;
    }

    void load_row(std::int64_t row) {
        const std::int64_t at = row % kept_ * padded * kWide;
        for (std::int64_t p = 0; p < c.planes; ++p) {  // borders keep the zeros that they began with
            T* to = plane(p) + at + c.pad_columns * kWide;
            const T* from = pixels_.data() + (p * c.height + row) * c.width;
            for (std::int64_t r = 0; r < c.width; ++r)
                for (std::int64_t half : {std::int64_t{0}, kWide / 2})
                    store(to + r * kWide + half, Lanes<T>{} + from[r]);
        }
        if (c.mixed) {
            for (std::int64_t p = 0; p < c.planes; ++p) rows_[p] = plane(p) + at;
            combine(zeros_.data(), rows_, 1, weights_ + (c.rows() - 1 - c.planes) * kWide, c.planes, padded,
                    mix_.data() + at);
        }
        for (std::int64_t t = 0; t < c.terms; ++t) {
            convolve_row(source(t) + at, t, half_.data() + (t * c.patch_height + slot(row)) * across * kWide);
            for (std::int64_t p = 0; p < (each_plane_ ? c.planes : 0); ++p)
                convolve_row(plane(p) + at, t, plane_half(t, p) + slot(row) * across * kWide);
        }
    }

    void convolve_row(const T* from, std::int64_t t, T* to) {
        for (std::int64_t k = 0; k < c.patch_width; ++k) rows_[k] = from + k * kWide;
        combine(zeros_.data(), rows_, c.stride, weights_ + v_row(t) * kWide, c.patch_width, across, to);
    }

    const bool each_plane_;
    /// rows of the planes and of their mix that are kept: values need only one
    const std::int64_t kept_;
    Aligned<T> planes_, mix_, half_, plane_half_, tables_, pixels_, q_, other_, zeros_;
    const T* rows_[kOperands];
    const T* weights_ = nullptr;
    std::int64_t next_ = 0, first_tap_ = 0, top_ = 0, taps_ = 0;
};

}  // namespace
}  // namespace varpro::VARPRO_ISA
