# The CUDA kernels are a later step; the variable is read already, so that scripts which set it keep working.
set(VARPRO_CUDA AUTO CACHE STRING "build the CUDA kernels: ON, OFF or AUTO")
if(VARPRO_CUDA STREQUAL "ON")
  message(WARNING "varpro: VARPRO_CUDA=ON, but this version has no CUDA kernels yet; building for the CPU only")
endif()
