// Two rounds of Cholesky QR.  Row-major phi (n, i) is column-major phi^T, so Q = phi R^-1 is the triangular solve
// Q^T = R^-T phi^T from the left, and nothing is transposed.
#include "../kernels/projector.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "blas.hpp"

namespace varpro {
namespace {

/// factor (column-major upper triangle = row-major lower): R^T with R the upper factor in row-major words.
int cholesky(std::vector<double>& gram, int size) {
    char upper = 'U';
    int info = 0;
    blas::table.dpotrf(&upper, &size, gram.data(), &size, &info);
    return info;
}

double norm_1(const std::vector<double>& upper, std::int64_t i) {
    double largest = 0.0;
    for (std::int64_t column = 0; column < i; ++column) {
        double total = 0.0;
        for (std::int64_t row = 0; row <= column; ++row) total += std::fabs(upper[column * i + row]);
        if (!(total <= largest)) largest = total;  // keeps a NaN, which std::max would drop
    }
    return largest;
}

/// q (n, i) <- q R^-1 for R in LAPACK's column-major upper triangle.
void divide(double* q, std::vector<double>& r, std::int64_t n, std::int64_t i) {
    char left = 'L', upper = 'U', transposed = 'T', plain = 'N';
    int rows = static_cast<int>(i), columns = static_cast<int>(n);
    double one = 1.0;
    blas::table.dtrsm(&left, &upper, &transposed, &plain, &rows, &columns, &one, r.data(), &rows, q, &rows);
}

}  // namespace

int cholesky_qr2(const double* phi, double ridge, double* q, double* r, double* inverse, double* condition,
                 std::int64_t n, std::int64_t i) {
    char upper = 'U', plain = 'N';
    int size = static_cast<int>(i), info = 0;
    const int rows = static_cast<int>(n);
    std::vector<double> first(i * i, 0.0), second(i * i, 0.0), inverted;
    *condition = INFINITY;
    blas::syrk('U', size, rows, 1.0, phi, 0.0, first.data());
    for (std::int64_t c = 0; c < i; ++c) first[c * i + c] += ridge;
    if (cholesky(first, size) != 0) return 1;
    std::copy_n(phi, n * i, q);
    divide(q, first, n, i);
    inverted = first;
    blas::table.dtrtri(&upper, &plain, &size, inverted.data(), &size, &info);
    if (info != 0) return 1;
    blas::syrk('U', size, rows, 1.0, q, 0.0, second.data());
    if (ridge > 0)  // the bottom block of the first Q is sqrt(ridge) R^-1
        for (std::int64_t a = 0; a < i; ++a)
            for (std::int64_t b = a; b < i; ++b) {
                double total = 0.0;
                for (std::int64_t k = 0; k <= a; ++k) total += inverted[a * i + k] * inverted[b * i + k];
                second[b * i + a] += ridge * total;
            }
    if (cholesky(second, size) != 0) return 1;
    divide(q, second, n, i);
    // R = R_2 R_1, both upper triangular
    std::vector<double> product(i * i, 0.0);
    for (std::int64_t column = 0; column < i; ++column)
        for (std::int64_t row = 0; row <= column; ++row) {
            double total = 0.0;
            for (std::int64_t k = row; k <= column; ++k) total += second[k * i + row] * first[column * i + k];
            product[column * i + row] = total;
        }
    inverted = product;
    blas::table.dtrtri(&upper, &plain, &size, inverted.data(), &size, &info);
    if (info != 0) return 1;
    *condition = norm_1(product, i) * norm_1(inverted, i);
    if (!std::isfinite(*condition)) return 1;
    for (std::int64_t row = 0; row < i; ++row)
        for (std::int64_t column = 0; column < i; ++column) {
            r[row * i + column] = product[column * i + row];
            inverse[row * i + column] = inverted[column * i + row];
        }
    return 0;
}

}  // namespace varpro
