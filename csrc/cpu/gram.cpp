// Two BLAS products, added to the present values.
#include "../kernels/gram.hpp"

#include "blas.hpp"

namespace varpro {

void accumulate_gram(const double* phi, const double* y, double* gram, double* cross, std::int64_t n, std::int64_t i,
                     std::int64_t k) {
    const int rows = static_cast<int>(n), columns = static_cast<int>(i), outputs = static_cast<int>(k);
    blas::syrk('U', columns, rows, 1.0, phi, 1.0, gram);
    blas::gemm('N', 'T', outputs, columns, rows, 1.0, y, outputs, phi, columns, 1.0, cross, outputs);
}

}  // namespace varpro
