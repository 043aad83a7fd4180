"""The Hadamard form of the Gauss-Newton matrix, and the damped solve with it."""

from collections.abc import Iterator

import numpy as np

from varpro.kernels import gauss_newton as kernel
from varpro.kernels.gauss_newton.reference import damped_solve_reference, normal_matrix_reference
from varpro.kernels.timing import Case, Result, rounding


def cases(quick: bool) -> Iterator[Case]:
    """A sub-network of MNIST: 2,000 images, 50 units of 29 parameters, 10 classes."""
    n, units, per_unit, k = (300, 8, 9, 3) if quick else (2000, 50, 29, 10)
    for dtype in ("float64", "float32"):
        for kaufman in (False, True):
            yield _normal_matrix(n, units, per_unit, k, dtype, kaufman)
    for single in (False, True):
        yield _damped_solve(units * per_unit, single)


def _normal_matrix(n: int, units: int, per_unit: int, k: int, dtype: str, kaufman: bool) -> Case:
    rng = np.random.default_rng(0)
    m, rank = units * per_unit, units + 1
    d = rng.standard_normal((1, n, m)).astype(dtype)
    basis = np.linalg.qr(rng.standard_normal((1, n, rank)))[0]
    z, a, g = basis.mT @ d.astype(float), rng.standard_normal((1, rank, k)), rng.standard_normal((1, m, k))
    inverse = np.linalg.inv(a @ a.mT + np.eye(rank))
    columns = np.tile(np.arange(units), per_unit).astype(np.int32)
    arguments = (d, z, a @ a.mT, None if kaufman else inverse, g, columns)
    return Case(
        kernel="gauss_newton",
        name="Hadamard form" + (", Kaufman" if kaufman else ", Golub-Pereyra"),
        shape={"N": n, "M": m, "I": rank, "K": k},
        dtype=dtype,
        run=lambda: (kernel.normal_matrix(*arguments),),
        reference=lambda: (normal_matrix_reference(*arguments),),
        valid=np.tril,
        tolerance=rounding(dtype, n),
        gflop=1e-9 * m * m * (n + rank + (1 if kaufman else k + 2)),
        gigabytes=1e-9 * (d.nbytes + z.nbytes + 8 * 2 * m * m / 2),
    )


def _damped_solve(size: int, single: bool) -> Case:
    rng = np.random.default_rng(0)
    tall = rng.standard_normal((1, 2 * size, size))
    h = tall.mT @ tall / size
    diagonal, lam, rhs = np.einsum("bii->bi", h).copy(), np.array([0.1]), rng.standard_normal((1, size))
    item = 4 if single else 8

    def run() -> Result:
        return kernel.damped_solve(h, diagonal, lam, rhs, single=single)

    return Case(
        kernel="gauss_newton",
        name="damped solve" + (", single refined" if single else ""),
        shape={"M": size},
        dtype="float32" if single else "float64",
        run=run,
        reference=lambda: damped_solve_reference(h, diagonal, lam, rhs),
        tolerance=1e-9 if single else rounding("float64", size),  # the single one is refined to 1e-10
        gflop=1e-9 * size**3 / 3,
        gigabytes=1e-9 * (8 + item) * size * size / 2,
    )
