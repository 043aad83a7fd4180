"""Large products and Cholesky factorisations on a device: cuBLAS and cuSOLVER, through CuPy's thin bindings.

The bindings are attributes of cupy.cuda: asking for one loads its library, which importing its module does not.

Both libraries use column order.  A row-major matrix is its own transpose to them, so nothing is transposed in memory
here: the lower triangle of a row-major matrix is the upper one of theirs.
"""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from varpro.arrays import Array, namespace

TF32_MATH = 3
"""CUBLAS_TF32_TENSOR_OP_MATH of cublas_api.h, which CuPy's bindings do not name."""
BLOCK_COLUMNS = 280
"""Columns of D^T D per batched product: five blocks of a sub-network of 1,450 do 60 % of the full product's work."""


def gram_lower(d: Array, *, z: Array | None = None, tf32: bool = False) -> Array:
    """D^T D - z^T z (B, M, M) in the dtype of d (B, N, M); the lower triangle is valid.  z : (B, r, M), that dtype.

    tf32 : round the factors of the products to ten bits; needs d in float32.
    """
    xp, (count, rows, m) = namespace(d), d.shape
    out = xp.empty((count, m, m), dtype=d.dtype)
    blas = _Blas(d.dtype, xp, tf32=tf32)
    for first in range(0, m, BLOCK_COLUMNS):
        width, tall = min(BLOCK_COLUMNS, m - first), m - first
        block = _at(out, first * m + first)
        blas.gemm(False, True, width, tall, rows, 1.0, _at(d, first), m, rows * m, _at(d, first), m, rows * m, 0.0,
                  block, m, m * m, count)  # fmt: skip
        if z is not None:
            rank = z.shape[1]
            blas.gemm(False, True, width, tall, rank, -1.0, _at(z, first), m, rank * m, _at(z, first), m, rank * m, 1.0,
                      block, m, m * m, count)  # fmt: skip
    blas.close()
    return out


def subtract_product(d: Array, u: Array, z: Array) -> None:
    """d (B, N, M) -= u (B, N, r) z (B, r, M) in place; one dtype, C-contiguous."""
    xp, (count, rows, m), rank = namespace(d), d.shape, u.shape[2]
    if rank:
        blas = _Blas(d.dtype, xp)
        blas.gemm(False, False, m, rows, rank, -1.0, _at(z), m, rank * m, _at(u), rank, rows * rank, 1.0,
                  _at(d), m, rows * m, count)  # fmt: skip


def product_beside(a: Array, b: Array, out: Array) -> None:
    """The first columns of out (B, N, C >= m) become a (B, N, k) b (B, k, m), the others are left; one dtype,
    C-contiguous."""
    (count, rows, k), m, pitch = a.shape, b.shape[2], out.shape[2]
    if out.size:
        blas = _Blas(a.dtype, namespace(a))
        blas.gemm(False, False, m, rows, k, 1.0, _at(b), m, k * m, _at(a), k, rows * k, 0.0,
                  _at(out), pitch, rows * pitch, count)  # fmt: skip


def accumulate_gram(phi: Array, gram: Array) -> None:
    """gram (I, I) += phi^T phi in its lower triangle; phi (N, I); float64."""
    xp, scalars = namespace(phi), np.array([1.0, 1.0])
    cublas, handle = xp.cuda.cublas, _cublas_handle(xp)
    rows, n = phi.shape
    one = scalars.ctypes.data
    cublas.dsyrk(
        handle, cublas.CUBLAS_FILL_MODE_UPPER, cublas.CUBLAS_OP_N, n, rows, one, _at(phi), n, one, _at(gram), n
    )


def cholesky(h: Array) -> Array:
    """Factor the lower triangles of h (B, P, P) float64 in place, h = L L^T; info (B,) int32 on the device.

    info > 0: that leading minor is not positive definite; do not use the problem's factor.
    """
    xp, (count, n, _) = namespace(h), h.shape
    info = xp.zeros(max(count, 1), dtype=np.int32)
    if h.size:
        upper, each = xp.cuda.cublas.CUBLAS_FILL_MODE_UPPER, _each(h)
        xp.cuda.cusolver.dpotrfBatched(_cusolver_handle(xp), upper, n, _at(each), n, info.data.ptr, count)
    return info[:count]


def cholesky_block(h: Array, first: int, last: int) -> Array:
    """`cholesky` of the diagonal block of rows first to last of every matrix of h (B, P, P)."""
    xp, (count, n, _) = namespace(h), h.shape
    info = xp.zeros(count, dtype=np.int32)
    upper, corner = xp.cuda.cublas.CUBLAS_FILL_MODE_UPPER, _each(h, first * n + first)
    xp.cuda.cusolver.dpotrfBatched(_cusolver_handle(xp), upper, last - first, _at(corner), n, _at(info), count)
    return info


def eliminate_block(h: Array, first: int, last: int) -> None:
    """The rest of a step of `cholesky` after `cholesky_block`: the columns first to last of the factor below the block,
    and their product subtracted from what is left of the lower triangles."""
    xp, (count, n, _), wide = namespace(h), h.shape, last - first
    cublas, one = xp.cuda.cublas, np.array([1.0])
    corner, panel = _each(h, first * n + first), _each(h, last * n + first)
    cublas.dtrsmBatched(
        _cublas_handle(xp), cublas.CUBLAS_SIDE_LEFT, cublas.CUBLAS_FILL_MODE_UPPER, cublas.CUBLAS_OP_T,
        cublas.CUBLAS_DIAG_NON_UNIT, wide, n - last, one.ctypes.data, _at(corner), n, _at(panel), n, count,
    )  # fmt: skip
    blas = _Blas(np.float64, xp)
    for left in range(last, n, BLOCK_COLUMNS):  # a block of columns, and what lies below its diagonal block
        right = min(left + BLOCK_COLUMNS, n)
        blas.gemm(True, False, right - left, n - left, wide, -1.0, _at(h, left * n + first), n, n * n,
                  _at(h, left * n + first), n, n * n, 1.0, _at(h, left * n + left), n, n * n, count)  # fmt: skip


def cholesky_solve(factor: Array, rhs: Array) -> Array:
    """x (B, P) with L L^T x = rhs (B, P) for the factors of `cholesky`."""
    xp, (count, n) = namespace(rhs), rhs.shape
    x, info = xp.array(rhs, dtype=np.float64), xp.zeros(1, dtype=np.int32)
    if x.size:
        handle, upper = _cusolver_handle(xp), xp.cuda.cublas.CUBLAS_FILL_MODE_UPPER
        left, right = _each(factor), _each(x)
        xp.cuda.cusolver.dpotrsBatched(handle, upper, n, 1, _at(left), n, _at(right), n, info.data.ptr, count)
    return x


def subtract_transposed(out: Array, a: Array, b: Array) -> None:
    """out (n, m) -= a^T b in place for a (k, n) and b (k, m); float64, C-contiguous."""
    (k, n), m = a.shape, b.shape[1]
    if out.size and k:
        blas = _Blas(np.float64, namespace(out))
        blas.gemm(False, True, m, n, k, -1.0, _at(b), m, 0, _at(a), n, 0, 1.0, _at(out), m, 0, 1)


def cholesky_large(h: Array) -> int:
    """Factor the lower triangle of one h (n, n) float64 in place; waits for LAPACK's info and returns it."""
    xp, n = namespace(h), len(h)
    upper = xp.cuda.cublas.CUBLAS_FILL_MODE_UPPER
    handle, info = _cusolver_handle(xp), xp.zeros(1, dtype=np.int32)
    length = xp.cuda.cusolver.dpotrf_bufferSize(handle, upper, n, _at(h), n)
    work = xp.empty(max(length, 1))
    xp.cuda.cusolver.dpotrf(handle, upper, n, _at(h), n, _at(work), length, _at(info))
    return int(info[0])


def cholesky_large_solve(factor: Array, rows: Array) -> None:
    """Replace rows (k, n) by the x with x L L^T = rows, for the factor of `cholesky_large`."""
    xp, (count, n) = namespace(rows), rows.shape
    upper, info = xp.cuda.cublas.CUBLAS_FILL_MODE_UPPER, xp.zeros(1, dtype=np.int32)
    if rows.size:
        xp.cuda.cusolver.dpotrs(_cusolver_handle(xp), upper, n, count, _at(factor), n, _at(rows), n, _at(info))


class _Blas:
    """Batched products of one dtype on the current device; close() restores the mode of arithmetic."""

    def __init__(self, dtype: npt.DTypeLike, xp: ModuleType, *, tf32: bool = False) -> None:
        self.lib, self.handle, self.tf32 = xp.cuda.cublas, _cublas_handle(xp), tf32
        double = np.dtype(dtype) == np.float64
        self.call = self.lib.dgemmStridedBatched if double else self.lib.sgemmStridedBatched
        self.dtype = np.float64 if double else np.float32
        if tf32:
            self.lib.setMathMode(self.handle, TF32_MATH)

    def gemm(
        self, ta: bool, tb: bool, m: int, n: int, k: int, alpha: float, a: int, lda: int, step_a: int,
        b: int, ldb: int, step_b: int, beta: float, c: int, ldc: int, step_c: int, count: int,
    ) -> None:  # fmt: skip
        """C = alpha op(A) op(B) + beta C for `count` problems, in the library's own column order."""
        scalars = np.array([alpha, beta], dtype=self.dtype)
        ops = [self.lib.CUBLAS_OP_T if t else self.lib.CUBLAS_OP_N for t in (ta, tb)]
        first = scalars.ctypes.data
        self.call(self.handle, *ops, m, n, k, first, a, lda, step_a, b, ldb, step_b, first + scalars.itemsize,
                  c, ldc, step_c, count)  # fmt: skip

    def close(self) -> None:
        if self.tf32:
            self.lib.setMathMode(self.handle, self.lib.CUBLAS_DEFAULT_MATH)


def _at(a: Any, offset: int = 0) -> int:
    """The address of an entry of a C-contiguous device array."""
    return int(a.data.ptr) + offset * int(a.itemsize)


def _each(a: Array, offset: int = 0) -> Array:
    """The addresses of the entry at `offset` of a[0], a[1], ... (B,) uint64 on the device."""
    xp = namespace(a)
    step = int(np.prod(a.shape[1:])) * a.itemsize
    return xp.arange(len(a), dtype=np.uint64) * np.uint64(step) + np.uint64(_at(a, offset))


def _cublas_handle(xp: ModuleType) -> int:
    return int(xp.cuda.device.get_cublas_handle())


def _cusolver_handle(xp: ModuleType) -> int:
    return int(xp.cuda.device.get_cusolver_handle())
