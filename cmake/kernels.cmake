# The CPU kernels, and varpro._cpu.  Kernels with SIMD loops are compiled once for each instruction set and chosen at run
# time, so that a package built here runs on any processor of the same family.

set(VARPRO_WARNINGS -Wall -Wextra -Wno-psabi)
# Enough for branch-free loops to vectorise; -ffast-math would break the rounding trick of the exponential.
set(VARPRO_LOOPS -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast)

set(VARPRO_SIMD_SOURCES csrc/cpu/scalarize.cpp csrc/cpu/scalarize_windows.cpp csrc/cpu/gauss_newton_weigh.cpp
                        csrc/cpu/small_fits.cpp csrc/cpu/class_moments.cpp csrc/cpu/inward_scale.cpp
                        csrc/cpu/softmax_divergence.cpp csrc/cpu/few_rows.cpp csrc/cpu/convolve.cpp)
set(VARPRO_PLAIN_SOURCES csrc/cpu/gauss_newton.cpp csrc/cpu/gram.cpp csrc/cpu/projector.cpp csrc/cpu/search.cpp
                         csrc/bindings/cpu/module.cpp csrc/bindings/cpu/class_moments.cpp
                         csrc/bindings/cpu/convolve.cpp csrc/bindings/cpu/few_rows.cpp csrc/bindings/cpu/gauss_newton.cpp csrc/bindings/cpu/gram.cpp
                         csrc/bindings/cpu/inward_scale.cpp csrc/bindings/cpu/projector.cpp
                         csrc/bindings/cpu/scalarize.cpp csrc/bindings/cpu/search.cpp
                         csrc/bindings/cpu/small_fits.cpp csrc/bindings/cpu/softmax_divergence.cpp)

# lane_bytes: size of the vectors that kernels are written in (csrc/cpu/lanes.hpp)
function(varpro_variant name lane_bytes)
  add_library(varpro_${name} OBJECT ${VARPRO_SIMD_SOURCES})
  target_compile_definitions(varpro_${name} PRIVATE VARPRO_ISA=${name} VARPRO_LANE_BYTES=${lane_bytes})
  target_compile_options(varpro_${name} PRIVATE ${VARPRO_WARNINGS} ${VARPRO_LOOPS} ${ARGN})
  list(APPEND VARPRO_OBJECTS $<TARGET_OBJECTS:varpro_${name}>)
  set(VARPRO_OBJECTS ${VARPRO_OBJECTS} PARENT_SCOPE)
endfunction()

varpro_variant(baseline 16)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  varpro_variant(avx2 32 -march=x86-64-v3)
  # compilers prefer half of the width by themselves, for the first processors of the kind, which slowed down under it
  varpro_variant(avx512 64 -march=x86-64-v4 -mprefer-vector-width=512)
  set(VARPRO_X86_VARIANTS VARPRO_X86_VARIANTS)
endif()

pybind11_add_module(_cpu MODULE ${VARPRO_PLAIN_SOURCES} ${VARPRO_OBJECTS})
target_compile_definitions(_cpu PRIVATE ${VARPRO_X86_VARIANTS})
target_compile_options(_cpu PRIVATE ${VARPRO_WARNINGS} -O3)
install(TARGETS _cpu LIBRARY DESTINATION .)
