"""A few rows times a large matrix: the projection of many right-hand sides."""

from collections.abc import Iterator

import numpy as np

from varpro.kernels import few_rows as kernel
from varpro.kernels.few_rows.reference import few_rows_reference
from varpro.kernels.timing import Case, rounding


def cases(quick: bool) -> Iterator[Case]:
    """Columns that a fit of 1,000 right-hand sides adds, and right-hand sides that fit in no cache."""
    for m, n, k in ((3, 90, 70),) if quick else ((2, 1024, 1000), (5, 1024, 1000), (5, 1024, 20_000)):
        yield _few_rows(m, n, k)


def _few_rows(m: int, n: int, k: int) -> Case:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((m, n)), rng.standard_normal((n, k))
    return Case(
        kernel="few_rows",
        name="Q^T Y",
        shape={"M": m, "N": n, "K": k},
        dtype="float64",
        run=lambda: (kernel.few_rows(left, right),),
        reference=lambda: (few_rows_reference(left, right),),
        tolerance=rounding("float64", n),
        gflop=2e-9 * m * n * k,
        gigabytes=1e-9 * (right.nbytes + left.nbytes + 8 * m * k),
    )
