"""Divergence from the weights of a class, value and both gradients."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from varpro.kernels import softmax_divergence as kernel
from varpro.kernels.softmax_divergence.reference import softmax_divergence_reference
from varpro.kernels.timing import Case, rounding

FLOPS = {"pq": 45, "qp": 45, "squares": 5}
"""Operations per entry: an exponential is a polynomial of degree 13 and some eight operations around it."""


def cases(quick: bool) -> Iterator[Case]:
    """The batch of bench/losses.py."""
    n, m, classes = (90, 37, 4) if quick else (2000, 512, 100)
    rng = np.random.default_rng(0)
    position, weights = rng.integers(0, classes, (1, n)), rng.standard_normal((1, classes, m))
    for dtype in ("float64", "float32"):
        f = rng.standard_normal((1, n, m)).astype(dtype)
        for kind in kernel.KINDS:
            yield Case(
                kernel="softmax_divergence",
                name={"pq": "KL(p || q)", "qp": "KL(q || p)", "squares": "squared distance"}[kind],
                shape={"N": n, "m": m, "C": classes},
                dtype=dtype,
                run=partial(kernel.softmax_divergence, f, position, weights, kind, scale=1.0 / n),
                reference=partial(softmax_divergence_reference, f, position, weights, kind, scale=1.0 / n),
                tolerance=rounding(dtype, m),
                arithmetic_dtype="float64",
                gflop=1e-9 * FLOPS[kind] * n * m,
                gigabytes=1e-9 * (2 * f.nbytes + 2 * weights.nbytes),
            )
