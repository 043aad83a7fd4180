"""Convolutional units: values, and the contraction of D with weights per cell."""

from collections.abc import Iterator

import numpy as np

from varpro.kernels import convolve as kernel
from varpro.kernels.convolve import Patches
from varpro.kernels.convolve.reference import jacobian_reference, values_reference
from varpro.kernels.timing import Case

TOLERANCE = 5e-5
"""Tolerance of sums over all places of an image in single precision."""


def cases(quick: bool) -> Iterator[Case]:
    """Filters of the sizes in the shipped configs, on grey images and on colours mixed by each filter."""
    if quick:
        yield from _both(4, (1, 12, 12), 20, Patches(5, 5, cells=(4, 4), padding=(2, 2)))
        return
    for side in (7, 11):
        yield from _both(32, (1, 28, 28), 64, Patches(side, side, cells=(4, 4), padding=(side // 2, side // 2)))
    yield from _both(32, (3, 32, 32), 64, Patches(7, 7, cells=(4, 4), padding=(3, 3), mixed=True))


def _both(n: int, shape: tuple[int, int, int], filters: int, patches: Patches) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    w = rng.standard_normal((patches.rows(shape[0]), filters)).astype(np.float32)
    b = rng.standard_normal((n, filters, patches.cell_count)).astype(np.float32)
    sizes = {"N": n, "C": shape[0], "side": shape[1], "F": filters, "patch": patches.height, "G": patches.cell_count}
    once = 2e-9 * n * filters * kernel.multiply_adds(shape, patches)
    yield Case(
        kernel="convolve",
        name="values",
        shape=sizes,
        dtype="float32",
        run=lambda: (kernel.values(images, w, patches),),
        reference=lambda: (values_reference(images, w, patches),),
        tolerance=TOLERANCE,
        gflop=once,
        gigabytes=1e-9 * (images.nbytes + b.nbytes),
    )
    yield Case(
        kernel="convolve",
        name="contract D",
        shape=sizes,
        dtype="float32",
        run=lambda: (kernel.contract(images, w, b, patches),),
        reference=lambda: (np.einsum("ncrf,nfc->rf", jacobian_reference(images, w, patches), b),),
        tolerance=TOLERANCE,
        gflop=once + 2e-9 * n * filters * kernel.derivative_multiply_adds(shape, patches),
        gigabytes=1e-9 * (images.nbytes + b.nbytes),
    )
