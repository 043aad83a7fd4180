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


def dpotrf_bufferSize(handle, uplo, n, A, lda):
    return n


def dpotrf(handle, uplo, n, A, lda, work, lwork, devInfo):
    assert lwork == n, "the workspace is not as long as was asked for"
    integers(devInfo, 1)[0] = _factor(matrix(A, n, n, lda, np.float64), uplo)


def dpotrs(handle, uplo, n, nrhs, A, lda, B, ldb, devInfo):
    half = matrix(A, n, n, lda, np.float64)
    low = np.tril(half) if uplo == 0 else np.triu(half).T
    rhs = matrix(B, n, nrhs, ldb, np.float64)
    rhs[:] = np.linalg.solve(low.T, np.linalg.solve(low, rhs))
    integers(devInfo, 1)[0] = 0


def dpotrfBatched(handle, uplo, n, Aarray, lda, infoArray, batchSize):
    for i, address in enumerate(addresses(Aarray, batchSize)):
        integers(infoArray, batchSize)[i] = _factor(matrix(address, n, n, lda, np.float64), uplo)


def dpotrsBatched(handle, uplo, n, nrhs, Aarray, lda, Barray, ldb, devInfo, batchSize):
    assert nrhs == 1, "potrsBatched takes one right-hand side"
    integers(devInfo, 1)[0] = 0
    for one, other in zip(addresses(Aarray, batchSize), addresses(Barray, batchSize), strict=True):
        half = matrix(one, n, n, lda, np.float64)
        low = np.tril(half) if uplo == 0 else np.triu(half).T
        rhs = matrix(other, n, 1, ldb, np.float64)
        with np.errstate(all="ignore"):
            try:
                rhs[:] = np.linalg.solve(low.T, np.linalg.solve(low, rhs))
            except np.linalg.LinAlgError:  # the vendor divides by zero in silence
                rhs[:] = np.inf
