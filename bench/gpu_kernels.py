"""The CUDA kernels as cases: what to run, what it must equal, the bytes and operations it needs, its peers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varpro.arrays import Device
from varpro.kernels import gauss_newton, jacobian_products, scalarize, vendor
from varpro.kernels.gauss_newton.cuda import assemble
from varpro.kernels.gauss_newton.reference import normal_matrix_reference
from varpro.kernels.jacobian_products.reference import products_reference
from varpro.kernels.scalarize import cuda as scalarize_cuda
from varpro.kernels.scalarize import reference as scalarize_reference
from varpro.kernels.scalarize.reference import activate_reference, symmetric_pack_reference

Array = Any


@dataclass(frozen=True)
class Size:
    """Sub-networks side by side."""

    problems: int = 104
    n: int = 2000
    side: int = 28
    units: int = 50
    outputs: int = 10

    @property
    def m(self) -> int:
        return (self.side + 1) * self.units

    @property
    def columns(self) -> int:
        return self.units + 1


@dataclass
class Case:
    """One kernel at one size."""

    kernel: str
    name: str
    dtype: str
    run: Callable[[], Any]
    error: Callable[[], float]
    """largest relative deviation from the plain reference, on the first problem"""
    tolerance: float
    gigabytes: float
    gflop: float
    rate: str
    """whose product rate bounds the operations: fp64, fp32, tf32"""
    peers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    """a peer that is timed on a part of the work: how many times more the whole is"""


def relative(got: Array, expected: Array) -> float:
    """Largest deviation over the largest value."""
    got = got.get() if hasattr(got, "get") else np.asarray(got)
    return float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-300))


def parts() -> dict[str, Callable[[Device, Size], Iterator[Case]]]:
    """The cases by parts: each builds its arrays when it is its turn."""
    return {
        "scalarize": _scalarize,
        "packed": _packed,
        "jacobian_products": _products,
        "gauss_newton": _assembly,
        "damped solve": _solve,
    }


def images_of(device: Device, size: Size) -> tuple[np.ndarray, np.ndarray, Array, Array]:
    rng = np.random.default_rng(0)
    images = (rng.random((size.n + 500, 1, size.side, size.side)) ** 4 * 255).astype(np.uint8)
    index = np.stack([np.sort(rng.choice(len(images), size.n, replace=False)) for _ in range(size.problems)])
    return images, index, device.put(images), device.put(index.astype(np.int32))


def _scalarize(device: Device, size: Size) -> Iterator[Case]:
    xp, rng = device.xp, np.random.default_rng(1)
    images, index, there, rows = images_of(device, size)
    count, per_image = size.problems * size.n, size.side**2
    for kind, height in (("quadratic", size.side + 1), ("bilinear", 2 * size.side + 1)):
        w = 0.1 * rng.standard_normal((size.problems, height, size.units))
        w_there = device.put(w)
        call = getattr(scalarize, kind)
        reference = getattr(scalarize_reference, f"{kind}_reference")
        for jacobian in (None, "float64", "float32"):
            d_bytes = 0 if jacobian is None else height * size.units * np.dtype(jacobian).itemsize
            shape = 1e-9 * count * (per_image + 8 * size.columns + d_bytes)
            # S w for all units; the value and the slope cost an order less
            flop = 1e-9 * count * 2 * per_image * size.units * (1 if kind == "quadratic" or jacobian is None else 2)

            def run(jacobian: str | None = jacobian, call: Any = call, w_there: Any = w_there) -> Any:
                return call(there, rows, w_there, sigma="tanh", jacobian=jacobian)

            def error(w: Any = w, reference: Any = reference, run: Any = run) -> float:
                phi, d = run()
                phi_ref, d_ref = reference(images, index[:1], w[:1], sigma="tanh")
                first = relative(phi[:1], phi_ref)
                return first if d is None else max(first, relative(d[:1], d_ref))

            peers: dict[str, Callable[[], Any]] = {}
            if kind == "quadratic" and jacobian is None:
                peers["matmul of X and w, CuPy"] = _by_matmul(xp, there, rows, w_there, size)
            yield Case(
                "scalarize", f"{kind}, {'values' if jacobian is None else 'D in ' + jacobian}", "float64", run, error,
                1e-12 if jacobian != "float32" else 1e-6, shape, flop, "fp64", peers,
            )  # fmt: skip


def _by_matmul(xp: Any, images: Array, rows: Array, w: Array, size: Size) -> Callable[[], Any]:
    """w^T X w as two products of the library, the images gathered and made floats first."""

    def run() -> Any:
        x = images[rows[:, :, None].reshape(size.problems, size.n)][:, :, 0].astype(np.float64) / 255.0
        v = w[:, :-1]
        xw = xp.matmul(x.reshape(size.problems, size.n * size.side, size.side), v)
        q = (xw.reshape(size.problems, size.n, size.side, size.units) * v[:, None]).sum(axis=2)
        return xp.tanh(q + w[:, -1:])

    return run


def _packed(device: Device, size: Size) -> Iterator[Case]:
    images, index, there, rows = images_of(device, size)
    entries = size.side * (size.side + 1) // 2
    count = size.problems * size.n
    yield Case(
        "scalarize", "packed entries of bytes", "float64",
        lambda: scalarize.symmetric_pack(there, rows, dtype=np.float64),
        lambda: relative(
            scalarize.symmetric_pack(there, rows, dtype=np.float64)[: size.n],
            symmetric_pack_reference(images, index[:1], dtype=np.float64),
        ),
        1e-14, 1e-9 * count * (size.side**2 + 8 * entries), 0.0, "fp64",
    )  # fmt: skip
    q = np.random.default_rng(2).standard_normal((size.problems, size.n, size.columns))
    phi, bias = device.put(q), np.zeros((size.problems, size.units))

    def error() -> float:
        mine, expected = device.put(q), q[0].copy()
        scalarize_cuda.activate(mine, bias, logistic=False)
        activate_reference(expected, bias[0], sigma="tanh")
        expected[:, -1] = 1.0
        return relative(mine[0], expected)

    there_bias = device.put(bias)
    yield Case(
        "scalarize", "activate in place", "float64", lambda: scalarize_cuda.activate(phi, there_bias, logistic=False),
        error, 1e-14, 1e-9 * 2 * q.nbytes, 0.0, "fp64",
    )  # fmt: skip


def _d_and_friends(device: Device, size: Size, dtype: str) -> tuple[dict[str, np.ndarray], dict[str, Array]]:
    """One problem's arrays on the host, and all problems' on the device: copies of it."""
    rng = np.random.default_rng(3)
    one = {
        "d": rng.standard_normal((1, size.n, size.m)).astype(dtype),
        "u": np.linalg.qr(rng.standard_normal((1, size.n, size.columns)))[0],
        "r": rng.standard_normal((1, size.n, size.outputs)),
    }
    return one, {k: device.xp.tile(device.put(v), (size.problems, 1, 1)) for k, v in one.items()}


def _products(device: Device, size: Size) -> Iterator[Case]:
    for dtype in ("float64", "float32"):
        one, there = _d_and_friends(device, size, dtype)
        wide = size.columns + size.outputs

        def run(there: Any = there) -> Any:
            return jacobian_products.products(there["d"], there["u"], there["r"])

        def error(one: Any = one, run: Any = run) -> float:
            expected = products_reference(one["d"], one["u"], one["r"])
            return max(relative(a[:1], b) for a, b in zip(run(), expected, strict=True))

        def library(there: Any = there, xp: Any = device.xp) -> Any:
            both = xp.concatenate([there["u"], there["r"]], axis=2).astype(there["d"].dtype)
            return xp.matmul(both.mT, there["d"])

        yield Case(
            "jacobian_products", "U^T D and D^T R", dtype, run, error, 1e-11,
            1e-9 * (there["d"].nbytes + 8 * size.problems * (size.n + size.m) * wide),
            1e-9 * size.problems * 2 * size.n * size.m * wide, "fp64", {"matmul in the dtype of D, CuPy": library},
        )  # fmt: skip


def _assembly(device: Device, size: Size) -> Iterator[Case]:
    rng, xp = np.random.default_rng(4), device.xp
    for dtype in ("float64", "float32"):
        one, there = _d_and_friends(device, size, dtype)
        gram = vendor.gram_lower(there["d"])
        a = rng.standard_normal((1, size.columns, size.outputs))
        g = rng.standard_normal((1, size.m, size.outputs))
        columns = np.tile(np.arange(size.units, dtype=np.int32), size.side + 1)
        small = [xp.tile(device.put(v), (size.problems, 1, 1)) for v in (a @ a.mT, np.eye(size.columns) + a @ a.mT, g)]
        there_columns, lam = device.put(columns), device.put(np.full(size.problems, 0.1))
        diagonal = xp.ones((size.problems, size.m))

        def run(gram: Any = gram, small: Any = small, rest: Any = (there_columns, lam, diagonal)) -> Any:
            return assemble(gram, None, *small, *rest)

        def error(one: Any = one, a: Any = a, g: Any = g, columns: Any = columns, run: Any = run) -> float:
            zero = np.zeros((1, 0, size.m))
            inverse = np.eye(size.columns) + a @ a.mT
            expected = normal_matrix_reference(one["d"], zero, a @ a.mT, inverse, g, columns)
            return relative(xp.tril(run()[:1]), np.tril(expected + 0.1 * np.eye(size.m)))

        def unfused(gram: Any = gram, small: Any = small, rest: Any = (there_columns, lam, diagonal)) -> Any:
            aat, inverse, g = small
            j, lam, diagonal = rest
            h = aat[:, j][:, :, j] * gram + inverse[:, j][:, :, j] * (g @ g.mT)
            h.reshape(len(h), -1)[:, :: h.shape[1] + 1] += lam[:, None] * diagonal
            return h

        half = size.problems * size.m * (size.m + 1) / 2
        yield Case(
            "gauss_newton", "assemble with damping", dtype, run, error, 1e-11 if dtype == "float64" else 1e-4,
            1e-9 * half * (gram.itemsize + 8), 1e-9 * half * (2 * size.outputs + 6), "fp64", {"unfused, CuPy": unfused},
        )  # fmt: skip
        yield from _gram(device, size, dtype, one, there)


def _gram(device: Device, size: Size, dtype: str, one: Any, there: Any) -> Iterator[Case]:
    """The library's product, in block columns: what the assembly waits for."""
    for tf32 in (False, True) if dtype == "float32" else (False,):

        def run(tf32: bool = tf32) -> Any:
            return vendor.gram_lower(there["d"], tf32=tf32)

        def error(run: Any = run) -> float:
            wide = one["d"].astype(np.float64)
            return relative(device.xp.tril(run()[:1]), np.tril(wide.mT @ wide))

        def full(xp: Any = device.xp) -> Any:
            return xp.matmul(there["d"].mT, there["d"])

        yield Case(
            "vendor", f"D^T D, lower half{', tf32' if tf32 else ''}", dtype, run, error,
            {"float64": 1e-12, "float32": 1e-3 if tf32 else 1e-5}[dtype],
            1e-9 * (there["d"].nbytes + size.problems * size.m**2 / 2 * there["d"].itemsize),
            1e-9 * size.problems * size.n * size.m**2,
            "tf32" if tf32 else {"float64": "fp64", "float32": "fp32"}[dtype],
            {} if tf32 else {"the whole product, CuPy": full},
        )  # fmt: skip


def _solve(device: Device, size: Size) -> Iterator[Case]:
    rng, xp = np.random.default_rng(5), device.xp
    root = rng.standard_normal((1, size.m, size.m)) / np.sqrt(size.m)
    h, rhs = root @ root.mT + np.eye(size.m), rng.standard_normal((1, size.m))
    there, right = xp.tile(device.put(h), (size.problems, 1, 1)), xp.tile(device.put(rhs), (size.problems, 1))
    diagonal, lam = xp.ones((size.problems, size.m)), np.full(size.problems, 0.1)

    def run() -> Any:
        return gauss_newton.damped_solve(there, diagonal, lam, right)

    def error() -> float:
        return relative(run()[0][0], np.linalg.solve(h[0] + 0.1 * np.eye(size.m), rhs[0]))

    yield Case(
        "gauss_newton", "damped solve", "float64", run, error, 1e-10,
        1e-9 * 8 * size.problems * 2 * size.m**2, 1e-9 * size.problems * size.m**3 / 3, "fp64",
    )  # fmt: skip
