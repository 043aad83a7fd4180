"""The projector as cases of the GPU benchmark."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gpu_kernels import Case, Size, relative

from varpro.arrays import Device
from varpro.linalg.projector import factor

Array = Any


def projector_cases(device: Device, size: Size) -> Iterator[Case]:
    """The orthonormal basis of every Phi, against the libraries' batched QR and SVD."""
    rng, xp = np.random.default_rng(6), device.xp
    for dtype in ("float64", "float32"):
        one = rng.standard_normal((1, size.n, size.columns)).astype(dtype)
        there = xp.tile(device.put(one), (size.problems, 1, 1))

        def run(there: Any = there) -> Any:
            return factor(there)

        def error(one: Array = one, run: Any = run) -> float:
            u = run().u[0].get().astype(float)
            q = np.linalg.qr(one[0].astype(float))[0]
            y = q.sum(axis=1)
            return relative(u @ (u.T @ y), q @ (q.T @ y))

        few = max(1, size.problems // 20)
        peers, parts = _peers(device, there, few, size.problems / few)
        yield Case(
            "projector", "CholeskyQR2", dtype, run, error, 1e-12 if dtype == "float64" else 1e-5,
            1e-9 * 4 * there.nbytes, 1e-9 * size.problems * 4 * size.n * size.columns**2, "fp64", peers, parts,
        )  # fmt: skip


def _peers(device: Device, phi: Array, few: int, times: float) -> tuple[dict[str, Any], dict[str, float]]:
    """The libraries' batched QR and SVD; those that loop are timed on a few problems."""
    xp = device.xp
    peers: dict[str, Callable[[], Any]] = {"qr, CuPy (loops)": lambda: xp.linalg.qr(phi[:few])}
    parts = {"qr, CuPy (loops)": times}
    try:
        from cupyx import cusolver

        peers["gesvdaStridedBatched"] = lambda: cusolver.gesvda(phi)
    except ImportError:
        pass
    try:
        import torch

        tensor = torch.from_dlpack(phi)
        peers["qr, PyTorch"], parts["qr, PyTorch"] = lambda: torch.linalg.qr(tensor[:few]), times
        peers["svd gesvda, PyTorch"] = lambda: torch.linalg.svd(tensor, full_matrices=False, driver="gesvda")
    except (ImportError, RuntimeError, AttributeError, AssertionError):
        pass
    return peers, parts
