"""The projector: CholeskyQR2 of tall, skinny Phi."""

from collections.abc import Iterator

import numpy as np

from varpro.kernels import projector as kernel
from varpro.kernels.projector.reference import cholesky_qr2_reference
from varpro.kernels.timing import Case, rounding


def cases(quick: bool) -> Iterator[Case]:
    """One Phi of a sub-network, and many small ones as in curve fitting."""
    yield _cholesky_qr2(1, *((300, 9) if quick else (2000, 51)))
    yield _cholesky_qr2(100 if quick else 10_000, 64, 3)


def _cholesky_qr2(n_problems: int, n: int, columns: int) -> Case:
    phi = np.random.default_rng(0).standard_normal((n_problems, n, columns))
    return Case(
        kernel="projector",
        name="CholeskyQR2",
        shape={"B": n_problems, "N": n, "I": columns},
        dtype="float64",
        run=lambda: kernel.cholesky_qr2(phi)[:3],
        reference=lambda: cholesky_qr2_reference(phi)[:3],
        # differences grow with the condition, which is at most some hundreds for these random matrices
        tolerance=100 * rounding("float64", columns),
        gflop=1e-9 * n_problems * 4 * n * columns**2,
        gigabytes=1e-9 * 2 * phi.nbytes,
    )
