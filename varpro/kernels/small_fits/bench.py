"""Many small separable problems: linear parameters, cost, Gauss-Newton matrix and gradient in one pass."""

from collections.abc import Iterator

import numpy as np

from varpro.arrays import Array
from varpro.kernels import small_fits as kernel
from varpro.kernels.small_fits.reference import from_arrays_reference
from varpro.kernels.timing import Case, Result, rounding

PROGRAM = (("decay", (0,), 0.0), ("decay", (1,), 0.0), ("power", (), 0.0))


def cases(quick: bool) -> Iterator[Case]:
    """Two decays and an offset, 256 points: compiled columns on equidistant and other points, and given columns."""
    count, n = (50, 64) if quick else (2000, 256)
    rng = np.random.default_rng(0)
    even = np.linspace(0, 12.5, n)
    uneven = np.sort(rng.uniform(0, 12.5, n))
    yield _case("decays, equidistant points", count, even, rng, given=False)
    yield _case("decays, any points", count, uneven, rng, given=False)
    yield _case("columns and D given", count, even, rng, given=True)


def _case(name: str, count: int, t: Array, rng: np.random.Generator, *, given: bool) -> Case:
    n, problems = len(t), np.arange(count)
    w = rng.uniform(0.8, 1.2, (count, 2)) * [1.0, 3.0]
    y = np.einsum("bni,i->bn", _phi(t, w), [4.0, 2.5, 1.0])[:, :, None] + 0.1 * rng.standard_normal((count, n, 1))
    pairs = kernel.Pairs(np.arange(2, dtype=np.int32), np.arange(2, dtype=np.int32))
    phi, d = _phi(t, w), _derivatives(t, w)
    program = kernel.encode(PROGRAM)

    def results(found: kernel.SmallFits) -> Result:
        return found.a, found.cost, found.h, found.gradient

    def run() -> Result:
        if given:
            return results(kernel.from_arrays(phi, d, y, problems, pairs, 2))
        return results(kernel.from_program(program, t[None], w, y, problems, pairs))

    columns = 3 + 2  # of Phi and D; all their scalar products, and two passes for the residual
    products = columns * (columns + 1) // 2 + columns + 2 * 3
    exponentials = 0 if given else 2 * (1 if "equidistant" in name else 15)  # a recurrence, or a polynomial
    return Case(
        kernel="small_fits",
        name=name,
        shape={"B": count, "N": n, "I": 3, "M": 2},
        dtype="float64",
        run=run,
        reference=lambda: results(from_arrays_reference(phi, d, y, problems, pairs, 2)),
        tolerance=1e4 * rounding("float64", 8),  # the condition of the Gram matrix, some thousands here
        gflop=1e-9 * count * n * (2 * products + 2 * exponentials),
        gigabytes=1e-9 * (y.nbytes + (phi.nbytes + d.nbytes if given else 0)),
    )


def _phi(t: Array, w: Array) -> Array:
    return np.stack([np.exp(-t / w[:, :1]), np.exp(-t / w[:, 1:]), np.ones((len(w), len(t)))], axis=-1)


def _derivatives(t: Array, w: Array) -> Array:
    return _phi(t, w)[:, :, :2] * t[:, None] / w[:, None, :] ** 2
