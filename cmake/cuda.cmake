# The CUDA kernels, and varpro._cuda.  VARPRO_CUDA=AUTO builds them where a CUDA compiler is found; ON asks for one; OFF
# leaves them out.  Nothing but the static CUDA runtime is linked, so that the module imports on a machine without a driver.
set(VARPRO_CUDA AUTO CACHE STRING "build the CUDA kernels: ON, OFF or AUTO")
set(VARPRO_CUDA_SOURCES
    csrc/cuda/class_moments.cu
    csrc/cuda/convolve.cu
    csrc/cuda/gauss_newton.cu
    csrc/cuda/inward_scale.cu
    csrc/cuda/jacobian_products.cu
    csrc/cuda/projector.cu
    csrc/cuda/projector_factor.cu
    csrc/cuda/projector_reveal.cu
    csrc/cuda/projector_rows.cu
    csrc/cuda/scalarize_bilinear.cu
    csrc/cuda/scalarize_gram.cu
    csrc/cuda/scalarize_quadratic.cu
    csrc/cuda/scalarize_values.cu
    csrc/cuda/small_fits.cu
    csrc/cuda/softmax_divergence.cu)

if(NOT VARPRO_CUDA MATCHES "^(ON|OFF|AUTO)$")
  message(FATAL_ERROR "varpro: VARPRO_CUDA=${VARPRO_CUDA} is not known: use ON, OFF or AUTO")
endif()
if(VARPRO_CUDA STREQUAL "OFF")
  message(STATUS "varpro: VARPRO_CUDA=OFF, building for the CPU only")
  return()
endif()

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(VARPRO_CUDA STREQUAL "ON")
    message(FATAL_ERROR "varpro: VARPRO_CUDA=ON, but no CUDA compiler was found: put nvcc on PATH or set CUDACXX")
  endif()
  message(STATUS "varpro: no CUDA compiler was found, building for the CPU only")
  return()
endif()

enable_language(CUDA)
message(STATUS "varpro: building the CUDA kernels with ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION}")
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
# The interface of pybind11 stays with the C++ compiler; NO_EXTRAS: no link-time optimisation across the two.
pybind11_add_module(_cuda MODULE NO_EXTRAS csrc/bindings/cuda/module.cpp csrc/bindings/cuda/class_moments.cpp
                    csrc/bindings/cuda/convolve.cpp
                    csrc/bindings/cuda/gauss_newton.cpp csrc/bindings/cuda/inward_scale.cpp
                    csrc/bindings/cuda/jacobian_products.cpp csrc/bindings/cuda/projector.cpp
                    csrc/bindings/cuda/scalarize.cpp csrc/bindings/cuda/small_fits.cpp
                    csrc/bindings/cuda/softmax_divergence.cpp ${VARPRO_CUDA_SOURCES})
target_include_directories(_cuda PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_compile_options(_cuda PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${VARPRO_WARNINGS} -O3>
                                     $<$<COMPILE_LANGUAGE:CUDA>:-O3 -Xcompiler=-Wall,-Wextra>)
list(JOIN CMAKE_CUDA_ARCHITECTURES " " VARPRO_ARCHITECTURES)  # varpro.arrays compares a device with them
set_source_files_properties(csrc/bindings/cuda/module.cpp PROPERTIES COMPILE_DEFINITIONS
                            "VARPRO_CUDA_ARCHITECTURES=\"${VARPRO_ARCHITECTURES}\"")
set_target_properties(_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static)
install(TARGETS _cuda LIBRARY DESTINATION .)
