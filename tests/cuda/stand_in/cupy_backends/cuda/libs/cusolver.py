import numpy as np
from cupy_backends.cuda.libs._matrix import addresses, integers, matrix


def _factor(a, uplo):
    """Cholesky in the triangle named; the order of the first minor that is not positive, or 0."""
    n = len(a)
    half = np.tril(a) if uplo == 0 else np.triu(a).T
    for size in range(1, n + 1):
        try:
            np.linalg.cholesky(half[:size, :size])
        except np.linalg.LinAlgError:
            return size
    if not np.isfinite(half).all():
        return 1
    low = np.linalg.cholesky(half)
    where = np.tril_indices(n)
    if uplo == 0:
        a[where] = low[where]
    else:
        a[where[::-1]] = low[where]
    return 0


def _potrf(dtype, handle, uplo, n, a, lda, info, count):
    for i, address in enumerate(addresses(a, count)):
        integers(info, count)[i] = _factor(matrix(address, n, n, lda, dtype), uplo)


def dpotrf_bufferSize(handle, uplo, n, a, lda):
    return n


def dpotrf(handle, uplo, n, a, lda, work, lwork, info):
    assert lwork == n, "the workspace is not as long as was asked for"
    integers(info, 1)[0] = _factor(matrix(a, n, n, lda, np.float64), uplo)


def dpotrs(handle, uplo, n, nrhs, a, lda, b, ldb, info):
    half = matrix(a, n, n, lda, np.float64)
    low = np.tril(half) if uplo == 0 else np.triu(half).T
    rhs = matrix(b, n, nrhs, ldb, np.float64)
    rhs[:] = np.linalg.solve(low.T, np.linalg.solve(low, rhs))
    integers(info, 1)[0] = 0


def _potrs(dtype, handle, uplo, n, nrhs, a, lda, b, ldb, info, count):
    assert nrhs == 1, "potrsBatched takes one right-hand side"
    integers(info, 1)[0] = 0
    for one, other in zip(addresses(a, count), addresses(b, count), strict=True):
        half = matrix(one, n, n, lda, dtype)
        low = np.tril(half) if uplo == 0 else np.triu(half).T
        rhs = matrix(other, n, 1, ldb, dtype)
        with np.errstate(all="ignore"):
            try:
                rhs[:] = np.linalg.solve(low.T, np.linalg.solve(low, rhs))
            except np.linalg.LinAlgError:  # the vendor divides by zero in silence
                rhs[:] = np.inf


def dpotrfBatched(*call):
    _potrf(np.float64, *call)


def spotrfBatched(*call):
    _potrf(np.float32, *call)


def dpotrsBatched(*call):
    _potrs(np.float64, *call)


def spotrsBatched(*call):
    _potrs(np.float32, *call)
