"""Products with the compressed Jacobian: U^T D and D^T R in one pass."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from varpro.kernels import jacobian_products as kernel
from varpro.kernels.jacobian_products.reference import products_reference
from varpro.kernels.timing import Case, rounding


def cases(quick: bool) -> Iterator[Case]:
    """A sub-network of MNIST, in both precisions of D."""
    n, m, rank, k = (300, 72, 9, 3) if quick else (2000, 1450, 51, 10)
    rng = np.random.default_rng(0)
    u, r = np.linalg.qr(rng.standard_normal((1, n, rank)))[0], rng.standard_normal((1, n, k))
    for dtype in ("float64", "float32"):
        d = rng.standard_normal((1, n, m)).astype(dtype)
        yield Case(
            kernel="jacobian_products",
            name="U^T D, and D^T R in float64",
            shape={"N": n, "M": m, "I": rank, "K": k},
            dtype=dtype,
            run=partial(kernel.products, d, u, r),
            reference=partial(products_reference, d, u, r),
            tolerance=rounding(dtype, n),
            gflop=1e-9 * 2 * n * m * (rank + k),
            gigabytes=1e-9 * (d.nbytes + u.nbytes + r.nbytes + 8 * m * (rank + k)),
        )
