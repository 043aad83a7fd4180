// The runtime's few functions that varpro._cuda calls, on a machine with one device: the host.
#pragma once

#define CUDART_VERSION 13000
enum cudaError_t { cudaSuccess = 0, cudaErrorNoDevice = 100 };

inline cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
