/// Kernels with SIMD loops are compiled once for each instruction set, in a namespace of that name.
#pragma once

#define VARPRO_VARIANTS(...) \
    namespace baseline {     \
    __VA_ARGS__              \
    }                        \
    namespace avx2 {         \
    __VA_ARGS__              \
    }                        \
    namespace avx512 {       \
    __VA_ARGS__              \
    }
