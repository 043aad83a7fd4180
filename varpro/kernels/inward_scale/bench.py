"""Rows on a sphere, and gradients mapped back."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from varpro.kernels import inward_scale as kernel
from varpro.kernels.inward_scale.reference import inward_scale_reference, inward_scale_vjp_reference
from varpro.kernels.timing import Case, Result, rounding

XI, EPS = 10.0, 1e-8


def cases(quick: bool) -> Iterator[Case]:
    """The batch of bench/losses.py, and one that fits in no cache."""
    for n, d in ((90, 37),) if quick else ((2000, 512), (20_000, 512)):
        for dtype in ("float64", "float32"):
            rng = np.random.default_rng(0)
            x, g = (rng.standard_normal((n, d)).astype(dtype) for _ in range(2))
            yield _case(
                "value",
                2 * x.nbytes,
                dtype,
                (n, d),
                partial(kernel.inward_scale, x, XI, EPS),
                partial(inward_scale_reference, x, XI, EPS),
            )
            yield _case(
                "vjp",
                3 * x.nbytes,
                dtype,
                (n, d),
                partial(kernel.inward_scale_vjp, x, g, XI, EPS),
                partial(inward_scale_vjp_reference, x, g, XI, EPS),
            )


def _case(
    name: str,
    n_bytes: int,
    dtype: str,
    shape: tuple[int, int],
    run: Callable[[], Result],
    reference: Callable[[], Result],
) -> Case:
    n, d = shape
    return Case(
        kernel="inward_scale",
        name=name,
        shape={"N": n, "D": d},
        dtype=dtype,
        run=run,
        reference=reference,
        tolerance=rounding(dtype, d),
        arithmetic_dtype="float64",
        gflop=1e-9 * n * d * (3 if name == "value" else 8),
        gigabytes=1e-9 * n_bytes,
    )
