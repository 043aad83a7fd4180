"""Scalarization: values and the compressed Jacobian in one pass, packed values, and units on windows."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from varpro.arrays import Array
from varpro.kernels import scalarize as kernel
from varpro.kernels.scalarize.reference import (
    activate_reference,
    bilinear_reference,
    quadratic_reference,
    symmetric_pack_reference,
    window_adjoint_reference,
    window_forward_reference,
    window_jacobian_reference,
)
from varpro.kernels.timing import Case, Result, rounding

BYTES = {"float32": 4, "float64": 8}


def cases(quick: bool) -> Iterator[Case]:
    """The shapes of a sub-network on MNIST (one plane) and CIFAR-10 (three), and of a refinement's block."""
    n, units = (200, 10) if quick else (2000, 50)
    for planes, side in ((1, 28), (3, 32)):
        rows = n if planes == 1 else n // 2
        yield _quadratic(rows, planes, side, units, None)
        yield _quadratic(rows, planes, side, units, "float64")
        yield _quadratic(rows, planes, side, units, "float32")
    yield _bilinear(n, 28, units)
    yield _pack(n, 28)
    yield _activate(n, 20 * units)
    yield from _windows(n, 30 * units // 2)


def _quadratic(n: int, planes: int, side: int, units: int, jacobian: str | None) -> Case:
    rng = np.random.default_rng(0)
    images = kernel.symmetrised(rng.random((n, planes, side, side)))
    rows = side + 1 + (planes if planes > 1 else 0)
    w = 0.05 * rng.standard_normal((1, rows, units))

    def reference() -> Result:
        phi, d = quadratic_reference(images, None, w, sigma="tanh")
        return (phi,) if jacobian is None else (phi, d)

    def run() -> Result:
        phi, d = kernel.quadratic(images, None, w, sigma="tanh", jacobian=jacobian, symmetric=True)
        return (phi,) if d is None else (phi, d)

    item = BYTES[jacobian] if jacobian else 0
    return Case(
        kernel="scalarize",
        name="quadratic" + (f" with D in {jacobian}" if jacobian else ", values"),
        shape={"N": n, "C": planes, "L": side, "I": units},
        dtype="float64",
        run=run,
        reference=reference,
        tolerance=rounding(jacobian or "float64", planes * side),
        gflop=1e-9 * (2 * n * planes * side * side * units + 3 * n * planes * side * units),
        gigabytes=1e-9 * (images.nbytes + 8 * n * (units + 1) + item * n * rows * units),
    )


def _bilinear(n: int, side: int, units: int) -> Case:
    rng = np.random.default_rng(0)
    images = rng.random((n, 1, side, side))
    w = 0.05 * rng.standard_normal((1, 2 * side + 1, units))
    return Case(
        kernel="scalarize",
        name="bilinear with D in float64",
        shape={"N": n, "L": side, "R": side, "I": units},
        dtype="float64",
        run=lambda: _both(kernel.bilinear(images, None, w, sigma="tanh", jacobian="float64")),
        reference=lambda: bilinear_reference(images, None, w, sigma="tanh"),
        tolerance=rounding("float64", side),
        gflop=1e-9 * 4 * n * side * side * units,
        gigabytes=1e-9 * 8 * n * (side * side + units * (2 * side + 2)),
    )


def _both(result: tuple[Array, Array | None]) -> Result:
    assert result[1] is not None
    return result[0], result[1]


def _pack(n: int, side: int) -> Case:
    x = np.random.default_rng(0).integers(0, 256, (n, 1, side, side), dtype=np.uint8)
    packed = side * (side + 1) // 2
    return Case(
        kernel="scalarize",
        name="symmetric pack of bytes",
        shape={"N": n, "L": side},
        dtype="float64",
        run=lambda: (kernel.symmetric_pack(x, dtype=np.float64),),
        reference=lambda: (symmetric_pack_reference(x, dtype=np.float64),),
        tolerance=rounding("float64", 1),
        gflop=1e-9 * 2 * n * packed,
        gigabytes=1e-9 * n * (side * side + 8 * packed),
    )


def _activate(n: int, units: int) -> Case:
    rng = np.random.default_rng(0)
    start, bias = rng.standard_normal((n, units + 1)), rng.standard_normal(units)
    ours, theirs = start.copy(), start.copy()

    def run() -> Result:
        kernel.activate(ours, bias, sigma="tanh")
        return (ours,)

    def reference() -> Result:
        activate_reference(theirs, bias, sigma="tanh")
        return (theirs,)

    return Case(
        kernel="scalarize",
        name="activate: tanh in place",
        shape={"N": n, "I": units},
        dtype="float64",
        run=run,
        reference=reference,
        tolerance=rounding("float64", 1),
        gflop=1e-9 * 2 * n * units,  # an addition and a tanh, counted as one operation each, since memory is the bound
        gigabytes=1e-9 * 16 * n * units,
    )


def _windows(n: int, units: int) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, 1, 28, 28), dtype=np.uint8)
    sides = rng.integers(6, 15, (units, 2))
    windows = np.hstack([rng.integers(0, 29 - sides), sides]).astype(np.int32)
    entries = int(kernel.window_offsets(windows, 1)[-1])
    shape = {"N": n, "L": 28, "R": 28, "I": units, "entries": entries}
    for dtype in ("float32", "float64"):
        matrices = rng.standard_normal(entries).astype(dtype)
        b = rng.standard_normal((n, units)).astype(dtype)
        traffic = x.nbytes + BYTES[dtype] * (entries + n * units)
        for name, entry, reference, last, terms in (
            ("windows, values", kernel.window_forward, window_forward_reference, matrices, 196),
            ("windows, adjoint", kernel.window_adjoint, window_adjoint_reference, b, n),
        ):
            yield Case(
                kernel="scalarize",
                name=name,
                shape=shape,
                dtype=dtype,
                run=partial(_one, entry, x, windows, last),
                reference=partial(_one, reference, x, windows, last),
                tolerance=rounding(dtype, terms),
                gflop=1e-9 * 2 * n * entries,
                gigabytes=1e-9 * traffic,
            )
    u, v = rng.standard_normal(windows[:, 2].sum()), rng.standard_normal(windows[:, 3].sum())
    slope = rng.random((n, units))
    columns = len(u) + len(v) + units
    yield Case(
        kernel="scalarize",
        name="windows, D in float64",
        shape=shape,
        dtype="float64",
        run=lambda: (kernel.window_jacobian(x, windows, u, v, slope, dtype="float64"),),
        reference=lambda: (window_jacobian_reference(x, windows, u, v, slope),),
        tolerance=rounding("float64", 14),
        gflop=1e-9 * n * (4 * entries + columns),
        gigabytes=1e-9 * (x.nbytes + 8 * n * (units + columns)),
    )


def _one(entry: Callable[..., Array], *arguments: Array) -> Result:
    return (entry(*arguments),)
