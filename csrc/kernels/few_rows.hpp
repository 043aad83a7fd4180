/// A few rows times a large matrix: what BLAS does by copying all of the matrix first.
#pragma once

#include <cstdint>

namespace varpro {

/// out (m, k) = left (m, n) right (n, k), C-contiguous doubles that do not alias.  right is read once, for any m; the
/// sums run over n in one order, so a row of out does not depend on the others.  2 m n k operations, 8 n k bytes.
#define VARPRO_DECLARE_FEW_ROWS(isa)                                                                    \
    namespace isa {                                                                                     \
    void few_rows(const double* left, const double* right, double* out, std::int64_t m, std::int64_t n, \
                  std::int64_t k);                                                                      \
    }

VARPRO_DECLARE_FEW_ROWS(baseline)
VARPRO_DECLARE_FEW_ROWS(avx2)
VARPRO_DECLARE_FEW_ROWS(avx512)

}  // namespace varpro
