"""Class sums and centred features: the first pass of the objectives on class scatter."""

from collections.abc import Iterator

import numpy as np

from varpro.kernels import class_moments as kernel
from varpro.kernels.class_moments.reference import class_moments_reference
from varpro.kernels.timing import Case, Result, rounding


def cases(quick: bool) -> Iterator[Case]:
    """The batches of bench/losses.py, and one that fits in no cache."""
    shapes = ((90, 37, 4),) if quick else ((400, 800, 10), (2000, 512, 100), (20_000, 512, 10))
    for shape in shapes:
        for dtype in ("float64", "float32"):
            yield _moments(*shape, dtype)


def _moments(n: int, d: int, classes: int, dtype: str) -> Case:
    rng = np.random.default_rng(0)
    position = rng.integers(0, classes, (1, n))
    f = rng.standard_normal((1, n, d)).astype(dtype)

    def result(moments: kernel.Moments) -> Result:
        assert moments.h is not None
        return moments.counts, moments.means, moments.within, moments.h

    return Case(
        kernel="class_moments",
        name="counts, means and centred features",
        shape={"N": n, "D": d, "C": classes},
        dtype=dtype,
        run=lambda: result(kernel.class_moments(f, position, classes)),
        reference=lambda: result(class_moments_reference(f, position, classes)),
        tolerance=rounding("float64", n),
        arithmetic_dtype="float64",
        gflop=1e-9 * 4 * n * d,
        gigabytes=1e-9 * (f.nbytes + 8 * n * d + 8 * classes * d),
    )
