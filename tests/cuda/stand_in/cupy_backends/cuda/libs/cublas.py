import numpy as np
from cupy_backends.cuda.libs._matrix import addresses, matrix, scalar

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_FILL_MODE_LOWER, CUBLAS_FILL_MODE_UPPER = 0, 1
CUBLAS_SIDE_LEFT, CUBLAS_DIAG_NON_UNIT = 0, 0
CUBLAS_DEFAULT_MATH = 0
modes = []
"""Math modes set, in order."""


def setMathMode(handle, mode):
    modes.append(mode)


def _gemm(dtype, ta, tb, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, count):
    size = np.dtype(dtype).itemsize
    alpha, beta = scalar(alpha, dtype), scalar(beta, dtype)
    for i in range(count):
        left = matrix(a + i * stride_a * size, *((k, m) if ta else (m, k)), lda, dtype)
        right = matrix(b + i * stride_b * size, *((n, k) if tb else (k, n)), ldb, dtype)
        out = matrix(c + i * stride_c * size, m, n, ldc, dtype)
        product = alpha * ((left.T if ta else left) @ (right.T if tb else right))
        out[:] = product if beta == 0 else product + beta * out


def dgemmStridedBatched(
    handle, transa, transb, m, n, k, alpha, A, lda, strideA, B, ldb, strideB, beta, C, ldc, strideC, batchCount
):
    _gemm(
        np.float64, transa, transb, m, n, k, alpha, A, lda, strideA, B, ldb, strideB, beta, C, ldc, strideC, batchCount
    )


def sgemmStridedBatched(
    handle, transa, transb, m, n, k, alpha, A, lda, strideA, B, ldb, strideB, beta, C, ldc, strideC, batchCount
):
    _gemm(
        np.float32, transa, transb, m, n, k, alpha, A, lda, strideA, B, ldb, strideB, beta, C, ldc, strideC, batchCount
    )


def dtrsmBatched(handle, side, uplo, trans, diag, m, n, alpha, Aarray, lda, Barray, ldb, batchCount):
    assert (side, uplo, trans, diag) == (CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_T, CUBLAS_DIAG_NON_UNIT)
    for a, b in zip(addresses(Aarray, batchCount), addresses(Barray, batchCount), strict=True):
        rhs, low = matrix(b, m, n, ldb, np.float64), np.triu(matrix(a, m, m, lda, np.float64)).T
        with np.errstate(all="ignore"):
            try:
                rhs[:] = scalar(alpha, np.float64) * np.linalg.solve(low, rhs)
            except np.linalg.LinAlgError:  # the vendor divides by zero in silence
                rhs[:] = np.inf


def dsyrk(handle, uplo, trans, n, k, alpha, A, lda, beta, C, ldc):
    given = matrix(A, *((k, n) if trans else (n, k)), lda, np.float64)
    out = matrix(C, n, n, ldc, np.float64)
    full = scalar(alpha, np.float64) * (given.T @ given if trans else given @ given.T)
    full = full + scalar(beta, np.float64) * out if scalar(beta, np.float64) else full
    half = np.tril_indices(n) if uplo == CUBLAS_FILL_MODE_LOWER else np.triu_indices(n)
    out[half] = full[half]
