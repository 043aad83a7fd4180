/// The Gram matrix of a tall matrix whose rows come in blocks: BLAS on a CPU, cuBLAS on a device.
#pragma once

#include <cstdint>

namespace varpro {

/// gram (i, i) lower triangle += phi^T phi, cross (i, k) += phi^T y; phi (n, i), y (n, k), C-contiguous doubles that do
/// not alias.  n i (i + 2 k) operations.
void accumulate_gram(const double* phi, const double* y, double* gram, double* cross, std::int64_t n, std::int64_t i,
                     std::int64_t k);

}  // namespace varpro
