/// Scratch that begins on a cache line: a vector load across two lines costs twice as much, and without alignment an
/// allocation decides by chance whether half of the loads do.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace varpro {

template <typename T>
struct CacheLine {
    using value_type = T;
    static constexpr std::align_val_t alignment{64};

    CacheLine() = default;
    template <typename U>
    CacheLine(const CacheLine<U>&) {}

    T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), alignment)); }
    void deallocate(T* held, std::size_t) { ::operator delete(held, alignment); }
    template <typename U>
    bool operator==(const CacheLine<U>&) const {
        return true;
    }
};

template <typename T>
using Aligned = std::vector<T, CacheLine<T>>;

}  // namespace varpro
