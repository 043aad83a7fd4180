"""Value and gradient of the NullSpace objective beside Algorithm 1 done with singular value decompositions.

    python bench/losses.py [--seconds S] [--json FILE]

Algorithm 1: SVD of F - mu, SVD of H in its range, null space (or ridge), eigenvalues; its gradient is the right one,
from the same SVD.  Features are normal noise in float32 or float64 with a shift for each class; ours works in float64
from both, the SVDs in the dtype of F.  Eigenvalues and gradient are compared in float64 before anything is timed; set
OPENBLAS_NUM_THREADS=1 for one core.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.kernels.timing import repeat
from varpro.losses import (
    ContrastiveLoss,
    FeedBackward,
    IntraClassVariance,
    InwardScale,
    LossResult,
    NullSpaceLoss,
    recall_at_k,
)

TOLERANCE = 1e-8


@dataclass(frozen=True)
class Row:
    name: str
    dtype: str
    median_ms: float
    spread_ms: float
    peer_ms: float | None = None
    peer_spread_ms: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.peer_ms is None else self.peer_ms / self.median_ms


def features(n: int, d: int, c: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % c
    return rng.standard_normal((n, d)) + rng.standard_normal((c, d))[y], y


def algorithm_1(f: Array, y: Array, mode: str) -> tuple[Array, Array]:
    """Eigenvalues, rising, and the gradient of -mean log(E / tr S_t + 1e-8); gamma = 1e-2 tr S_t / D in ridge mode."""
    n, d = f.shape
    counts = np.bincount(y)
    onehot = np.eye(len(counts), dtype=f.dtype)[y] / np.sqrt(counts).astype(f.dtype)
    mean = f.mean(axis=0)
    total = f - mean
    within = f - onehot @ (onehot.T @ f)
    between = onehot.T @ total / np.sqrt(f.dtype.type(n))
    _, s, vt = np.linalg.svd(total, full_matrices=False)
    tolerance = max(n, d) * np.finfo(f.dtype).eps
    span = vt[s > tolerance * s[0]].T
    trace = float((s**2).sum()) / n
    u, s, vt = np.linalg.svd(within @ span, full_matrices=mode == "exact")
    inside = between @ span
    r = len(counts) - 1
    if mode == "exact":
        kept = int(np.count_nonzero(s > tolerance * s[0]))
        null = vt[kept:].T
        z = (inside @ vt[:kept].T / s[:kept]) @ u[:, :kept].T
        residual = (inside @ null) @ (span @ null).T
        m = residual @ residual.T
        slope_gamma = 0.0
    else:
        delta = n * 1e-2 * trace / d
        z = (inside @ vt.T * (s / (s**2 + delta))) @ u.T
        residual = between - z @ within
        m = residual @ residual.T + delta * z @ z.T
    e, q = np.linalg.eigh(m)
    e, q = e[-r:], q[:, -r:]
    slope = -1.0 / (r * (e / trace + 1e-8)) / trace
    if mode == "ridge":
        slope_gamma = float(slope @ ((q.T @ z) ** 2).sum(axis=1)) * n * 1e-2 / d
    by_trace = slope_gamma - float(slope @ e) / trace
    tilt = onehot / np.sqrt(f.dtype.type(n)) - z.T
    return e, tilt @ (q @ (2 * slope[:, None] * (q.T @ residual))) + 2 * by_trace / n * total


def check(result: LossResult, peer: tuple[Array, Array]) -> float:
    """Larger relative distance of the eigenvalues and of the gradients."""
    pairs = ((result.info["E"], peer[0]), (result.gradient, peer[1]))
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def timed(run: Callable[[], object], seconds: float) -> tuple[float, float]:
    times = repeat(run, seconds=seconds)
    quartiles = statistics.quantiles(times, n=4)
    return 1e3 * statistics.median(times), 1e3 * (quartiles[2] - quartiles[0])


def beside_algorithm_1(shape: tuple[int, int, int], loss: NullSpaceLoss, seconds: float) -> list[Row]:
    f, y = features(*shape)
    error = check(loss(f, y), algorithm_1(f, y, loss.mode))
    if not error <= TOLERANCE:
        sys.exit(f"{loss.mode} {shape}: off by {error:.1e} from Algorithm 1, limit {TOLERANCE:.0e}; nothing timed")
    rows = []
    for dtype in ("float32", "float64"):
        g = f.astype(dtype)
        ours = timed(lambda g=g: loss(g, y), seconds)
        peer = timed(lambda g=g: algorithm_1(g, y, loss.mode), seconds)
        rows.append(Row(f"NullSpaceLoss {loss.mode} {shape}", dtype, *ours, *peer))
    return rows


def others(seconds: float) -> list[Row]:
    f, y = features(2000, 512, 100)
    g, w = f[:, :64], np.random.default_rng(1).standard_normal((512, 100))
    layer = InwardScale()
    runs: dict[str, Callable[[], object]] = {
        "IntraClassVariance eliminated (2000, 512, 100)": lambda: IntraClassVariance()(f, y),
        "FeedBackward softmax (2000, 512, 100)": lambda: FeedBackward()(f, y, W=w),
        "InwardScale with vjp (2000, 512)": lambda: (layer(f), layer.vjp(f, f)),
        "ContrastiveLoss (400, 64, 100)": lambda: ContrastiveLoss()(g[:400], y[:400]),
        "recall_at_k 1, 5, 10 (2000, 64)": lambda: recall_at_k(g, y, [1, 5, 10]),
    }
    return [Row(name, "float64", *timed(run, seconds)) for name, run in runs.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each timing")
    parser.add_argument("--json", type=Path, help="file for the rows")
    arguments = parser.parse_args()
    rows = [
        *beside_algorithm_1((400, 800, 10), NullSpaceLoss(mode="exact"), arguments.seconds),
        *beside_algorithm_1((2000, 512, 100), NullSpaceLoss(), arguments.seconds),
        *others(arguments.seconds),
    ]
    print(f"{'':48}{'':9}{'median ms':>10}{'spread':>8}{'Alg. 1 ms':>11}{'spread':>8}{'ratio':>7}")
    for row in rows:
        peer = "" if row.ratio is None else f"{row.peer_ms:11.1f}{row.peer_spread_ms:8.1f}{row.ratio:7.1f}"
        print(f"{row.name:48}{row.dtype:9}{row.median_ms:10.2f}{row.spread_ms:8.2f}{peer}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=1))


if __name__ == "__main__":
    main()
