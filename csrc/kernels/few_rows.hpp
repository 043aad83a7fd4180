/// A few rows times a large matrix, without the copy of the whole matrix that BLAS makes first.
#pragma once

#include <cstdint>

#include "variants.hpp"

namespace varpro {

/// out (m, k) = left (m, n) right (n, k), C-contiguous doubles that do not alias.  right is read once, for any m; the
/// sums run over n in one order, so a row of out does not depend on the others.  2 m n k operations, 8 n k bytes.
// clang-format off
VARPRO_VARIANTS(
    void few_rows(const double* left, const double* right, double* out, std::int64_t m, std::int64_t n,
                  std::int64_t k);
)
// clang-format on

}  // namespace varpro
