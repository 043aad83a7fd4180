"""Work on a device around the kernels, as cases: values from packed images, units on windows, batched factors."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gpu_kernels import Case, Size, images_of, relative

from varpro.arrays import Device
from varpro.kernels import batched_cholesky, scalarize, vendor
from varpro.kernels.scalarize.reference import quadratic_reference
from varpro.models.units.local_bilinear import LocalBilinearUnits, WindowOptions

Array = Any
BLOCK_ROWS = 1000
"""Images of a block of a refinement."""
WINDOWS = 36
"""Windows for each unit of a sub-network: 1,800 at the full size, those of mnist_local."""


def network_cases(device: Device, size: Size) -> Iterator[Case]:
    """The cases, each with its arrays built when it is its turn."""
    yield _packed_values(device, size)
    yield from _windows(device, size)
    yield from _factors(device, size)


def _packed_values(device: Device, size: Size) -> Case:
    images, index, there, rows = images_of(device, size)
    w = np.random.default_rng(1).standard_normal((size.problems, size.side + 1, size.units)) / size.side
    w_there = device.put(w)
    packed = scalarize.symmetric_pack(there, rows, dtype=np.float64).reshape(size.problems, size.n, -1)

    def run() -> Any:
        return scalarize.packed_quadratic(packed, w_there, 0, sigma="tanh")

    def error() -> float:
        return relative(run()[0], quadratic_reference(images, index[:1], w[:1], sigma="tanh")[0][0])

    entries, count = packed.shape[2], size.problems * size.n
    return Case(
        "scalarize", "quadratic, values from packed images", "float64", run, error, 1e-12,
        1e-9 * 8 * count * (entries + size.columns), 1e-9 * 2 * count * entries * size.units, "fp64",
        {"the kernel on the images": lambda: scalarize.quadratic(there, rows, w_there, sigma="tanh")},
    )  # fmt: skip


def _windows(device: Device, size: Size) -> Iterator[Case]:
    rng, n = np.random.default_rng(2), min(BLOCK_ROWS, size.n)
    shape, largest = (1, size.side, size.side), min(14, size.side)
    units = LocalBilinearUnits.create(
        shape, WINDOWS * size.units, rng, WindowOptions(window=(min(6, largest), largest))
    )
    images = (rng.random((n, *shape)) * 255).astype(np.uint8)
    w, b = units.draw(rng), rng.standard_normal((n, units.count))
    matrices, pixels = units.matrices(w), size.side**2
    there, of_w, of_b, of_matrices = (device.put(a) for a in (images, w, b, matrices))
    index = device.xp.arange(n, dtype=np.int32)[None]
    gflop = 1e-9 * 2 * n * pixels * units.count
    nothing = 1e-9 * 8 * (n * units.count + n * pixels)
    bound = units.bind(images, "tanh")
    ways: list[tuple[str, Callable[[], Any], Callable[[], Array], float, float]] = [
        ("values", lambda: units.forward(there, of_matrices), lambda: units.forward(images, matrices), nothing, gflop),
        ("contraction", lambda: units.adjoint(there, of_b), lambda: units.adjoint(images, b), nothing, gflop),
        (
            "D",
            lambda: units.gathered(there, index, of_w[None], sigma="tanh", jacobian="float64")[1][0],  # type: ignore[index]
            lambda: bound.jacobian(w[None], np.array([0]), "float64")[0],
            1e-9 * 8 * n * units.n_parameters,
            1e-9 * 2 * n * pixels * (units.n_parameters + units.count),
        ),
    ]
    for name, run, expected, gigabytes, operations in ways:
        yield Case(
            "windows", f"{name}, {units.count} of them", "float64", run,
            lambda run=run, expected=expected: relative(run(), expected()), 1e-11, gigabytes, operations, "fp64",
        )  # fmt: skip


def _factors(device: Device, size: Size) -> Iterator[Case]:
    rng, xp = np.random.default_rng(5), device.xp
    root = rng.standard_normal((size.m, size.m)) / np.sqrt(size.m)
    h = root @ root.T + np.eye(size.m)
    there = xp.tile(device.put(h[None]), (size.problems, 1, 1))
    for name, factor in (("by potrfBatched", vendor.cholesky), ("in blocks", batched_cholesky.in_blocks)):

        def run(factor: Callable[[Any], Any] = factor) -> Any:
            work = there.copy()
            factor(work)
            return work

        yield Case(
            "cholesky", f"{name}, with a copy", "float64", run,
            lambda run=run: relative(xp.tril(run()[0]), np.linalg.cholesky(h)), 1e-10,
            1e-9 * 8 * size.problems * 3 * size.m**2, 1e-9 * size.problems * size.m**3 / 3, "fp64",
        )  # fmt: skip
