"""Convolutional units as cases of the GPU benchmark."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from gpu_kernels import Case, Size, images_of, relative

from varpro.arrays import Device
from varpro.kernels.convolve import Patches, cuda, derivative_multiply_adds, multiply_adds
from varpro.kernels.convolve.reference import jacobian_reference, values_reference

Array = Any
CHECKED = 4
"""Images of the first problem that are compared with the formula, which takes gigabytes for all of them."""


def convolve_cases(device: Device, size: Size) -> Iterator[Case]:
    """As many units as there are others, with patches of up to 9 x 9, averaged over 2 x 2 cells, for 8 problems."""
    few = replace(size, problems=min(size.problems, 8), side=size.side // 2 * 2)
    images, index, there, rows = images_of(device, few)
    side = min(9, few.side // 2 | 1)
    patches, shape = Patches(side, side, cells=(2, 2), padding=(side // 2, side // 2)), images.shape[1:]
    for dtype in ("float64", "float32"):
        yield from _of_dtype(device, few, dtype, patches, (images[index[0, :CHECKED]], there, rows), shape)


def _of_dtype(
    device: Device, size: Size, dtype: str, patches: Patches, given: tuple[Array, Array, Array], shape: Any
) -> Iterator[Case]:
    rng, (some, there, rows) = np.random.default_rng(7), given
    w = rng.standard_normal((size.problems, patches.rows(1), size.units)).astype(dtype)
    b = rng.standard_normal((size.problems, size.n, size.units, 4)).astype(dtype)
    tables, weights = device.put(w), device.put(b)
    filters = 2e-9 * size.problems * size.n * size.units
    flop, more = filters * multiply_adds(shape, patches), filters * derivative_multiply_adds(shape, patches)
    read, d_bytes = 1e-9 * size.problems * size.n * some[0].size, 4e-9 * size.problems * size.n * w[0].nbytes
    rate, tolerance = {"float64": ("fp64", 1e-11), "float32": ("fp32", 1e-3)}[dtype]

    def values() -> Array:
        return cuda.values(there, rows, tables, patches)

    def jacobian() -> Array:
        return cuda.jacobian(there, rows, tables, patches)

    def contract() -> Array:
        return cuda.contract(there, rows, tables, weights, patches)

    def wrong_values() -> float:
        return relative(values()[0, : len(some)], values_reference(some, w[0], patches))

    def wrong_d() -> float:
        return relative(jacobian()[0, : len(some)], jacobian_reference(some, w[0], patches))

    def wrong_sums() -> float:
        """Against the device's own D, which is a case of its own."""
        d = jacobian()[0].get().astype(float)
        return relative(contract()[0], np.einsum("ncrf,nfc->rf", d, b[0].astype(float)))

    yield Case("convolve", "values", dtype, values, wrong_values, tolerance, read + 1e-9 * b.nbytes, flop, rate)
    yield Case("convolve", "D", dtype, jacobian, wrong_d, tolerance, read + d_bytes, flop + more, rate)
    yield Case("convolve", "contract D", dtype, contract, wrong_sums, tolerance, read, flop + more, rate)
