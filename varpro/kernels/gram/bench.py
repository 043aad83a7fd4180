"""The Gram matrix of the global gluing, accumulated by blocks of rows."""

from collections.abc import Iterator

import numpy as np

from varpro.kernels import gram as kernel
from varpro.kernels.gram.reference import accumulate_reference
from varpro.kernels.timing import Case, Result, rounding


def cases(quick: bool) -> Iterator[Case]:
    """A block of 2,000 rows of 1,301 units; the whole network of Table 3 has 5,201."""
    n, columns, k = (300, 51, 3) if quick else (2000, 1301, 10)
    rng = np.random.default_rng(0)
    phi, y = rng.standard_normal((n, columns)), rng.standard_normal((n, k))
    gram, cross = np.zeros((columns, columns)), np.zeros((columns, k))

    def run() -> Result:
        gram[:], cross[:] = 0, 0
        kernel.accumulate(phi, y, gram, cross)
        return gram, cross

    def reference() -> Result:
        gram, cross = np.zeros((columns, columns)), np.zeros((columns, k))
        accumulate_reference(phi, y, gram, cross)
        return gram, cross

    yield Case(
        kernel="gram",
        name="Phi^T Phi and Phi^T Y added to",
        shape={"N": n, "I": columns, "K": k},
        dtype="float64",
        run=run,
        reference=reference,
        tolerance=rounding("float64", n),
        gflop=1e-9 * n * columns * (columns + 2 * k),
        gigabytes=1e-9 * (phi.nbytes + y.nbytes + 2 * 8 * (columns**2 / 2 + columns * k)),
        valid=np.tril,
    )
