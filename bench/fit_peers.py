"""varpro.fit beside its peers on one core: one curve, many right-hand sides, many curves, optimised and bagged DMD.

    python bench/fit_peers.py [--json FILE] [--repeats 7]

Each row runs ours and the peer in turn, so that a busy machine slows both, and prints medians, spreads and the ratio
ours / peer.  Answers are compared before anything is timed.  Tolerances are those of scipy.optimize.leastsq, 1.49e-8,
for all.  lmfit and pydmd are timed where they are installed; Gpufit's CPU twin has no package and is left out.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize

import varpro
from varpro.arrays import Array
from varpro.distributed.threads import blas_threads

TOLERANCE = 1.49e-8
MODEL = varpro.models.Exponentials(2, offset=True)
PAIRS = [[0, 0], [1, 1]]


def basis(t: Array, w: Any) -> Array:
    """Two decays and an offset, as a user writes them."""
    return np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t)], axis=-1)


def columns(t: Array, w: Any) -> Array:
    """Their derivatives by the two lifetimes."""
    return np.stack([np.exp(-t / w[0]) * t / w[0] ** 2, np.exp(-t / w[1]) * t / w[1] ** 2], axis=-1)


def unseparated(p: Array, t: Array, y: Array) -> Array:
    return p[2] * np.exp(-t / p[0]) + p[3] * np.exp(-t / p[1]) + p[4] - y


def projected(w: Array, t: Array, y: Array) -> Array:
    """Residual of plain variable projection in NumPy, y (N, K)."""
    u, _, _ = np.linalg.svd(basis(t, w), full_matrices=False)
    return (y - u @ (u.T @ y)).ravel()


def kaufman(w: Array, t: Array, y: Array) -> Array:
    """Its Jacobian by Kaufman's formula, (N K, 2)."""
    phi, d = basis(t, w), columns(t, w)
    u, s, vt = np.linalg.svd(phi, full_matrices=False)
    a = vt.T @ ((u.T @ y) / s[:, None])
    rest = d - u @ (u.T @ d)
    return np.stack([-np.outer(rest[:, m], a[m]).ravel() for m in (0, 1)], axis=1)


def numpy_batched(t: Array, y: Array, w0: list[float], iterations: int = 40) -> Array:
    """Batched Kaufman Levenberg-Marquardt in NumPy, all problems in step: w (B, 2)."""
    w, lam = np.tile(np.array(w0), (len(y), 1)), np.full(len(y), 1.0)

    def parts(w: Array, rows: Array) -> tuple[Array, Array, Array]:
        v = w.T[:, :, None]
        phi, d = basis(np.broadcast_to(t, (len(w), len(t))), v), columns(t[None], v)
        gram = phi.mT @ phi
        a = np.linalg.solve(gram, phi.mT @ y[rows, :, None])
        residual = y[rows] - (phi @ a)[:, :, 0]
        j = -(d - phi @ np.linalg.solve(gram, phi.mT @ d)) * a.mT[:, :, :2]
        return 0.5 * np.einsum("bn,bn->b", residual, residual), residual, j

    rows = np.arange(len(y))
    cost, residual, j = parts(w, rows)
    for _ in range(iterations):
        h, g = j.mT @ j, np.einsum("bnp,bn->bp", j, residual)
        diagonal = np.einsum("bpp->bp", h)
        step = -np.linalg.solve(h + lam[rows, None, None] * diagonal[:, :, None] * np.eye(2), g[..., None])[..., 0]
        step = np.clip(step, -0.5 * w[rows], 0.5 * w[rows])  # lifetimes stay positive
        new_cost, new_residual, new_j = parts(w[rows] + step, rows)
        better = new_cost < cost
        done = better & (cost - new_cost <= TOLERANCE * cost)
        w[rows[better]] += step[better]
        lam[rows] *= np.where(better, 0.2, 5.0)
        cost, residual, j = (
            np.where(better.reshape(-1, *[1] * (o.ndim - 1)), n, o)
            for n, o in ((new_cost, cost), (new_residual, residual), (new_j, j))
        )
        keep = ~done
        rows, cost, residual, j = rows[keep], cost[keep], residual[keep], j[keep]
        if not len(rows):
            break
    return w


def compare(
    name: str, runs: dict[str, Callable[[], Any]], repeats: int, peer: str, scale: dict[str, float], block: int = 1
) -> dict[str, Any]:
    """Times of all runs in turn; scale multiplies the time of a run that did only a part of the work."""
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(repeats):
        for key, run in runs.items():
            for _ in range(block):  # short work in blocks, as in a loop over curves: the caches hold one code at a time
                clock = time.perf_counter()
                run()
                times[key].append(scale.get(key, 1.0) * (time.perf_counter() - clock))
    median = {key: statistics.median(values) for key, values in times.items()}
    print(f"\n{name}")
    for key, values in times.items():
        ratio = f"{median[key] / median[peer]:8.3f} of {peer}" if key != peer else ""
        print(f"  {key:34} {1e3 * median[key]:12.3f} ms   {1e3 * min(values):.3f} .. {1e3 * max(values):.3f}   {ratio}")
    return {"name": name, "peer": peer, "median_s": median, "spread_s": {k: [min(v), max(v)] for k, v in times.items()}}


def agree(what: str, ours: Array, theirs: Array, relative: float) -> None:
    """Stop where two solvers disagree."""
    error = float(np.max(np.abs(np.sort(ours, axis=-1) - np.sort(theirs, axis=-1)) / np.abs(np.sort(theirs, axis=-1))))
    if not error <= relative:
        raise SystemExit(f"{what}: the answers differ by {error:.1e}, limit {relative:.1e}")


def one_curve(repeats: int) -> dict[str, Any]:
    """A biexponential with an offset, N = 1,000, start (1, 7)."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 12.5, 1000)
    y = 4 * np.exp(-t) + 2.5 * np.exp(-t / 3) + 1 + 0.01 * rng.standard_normal(1000)
    full, start = [1.0, 7.0, 1.0, 5.0, 0.3], [1.0, 7.0]
    runs: dict[str, Callable[[], Any]] = {
        "varpro, ready model": lambda: varpro.fit(MODEL, t, y, start, cost_tolerance=TOLERANCE).nonlinear,
        "varpro, Python basis": lambda: (
            varpro.fit(basis, t, y, start, derivative=(PAIRS, columns), cost_tolerance=TOLERANCE).nonlinear
        ),
        "scipy leastsq": lambda: scipy.optimize.leastsq(unseparated, full, args=(t, y))[0][:2],
        "scipy curve_fit": lambda: scipy.optimize.curve_fit(lambda t, *p: unseparated(np.array(p), t, 0.0), t, y, full)[
            0
        ][:2],
    }
    if importlib.util.find_spec("lmfit"):
        runs["lmfit"] = _lmfit(t, y)
    else:
        print("lmfit is not installed: skipped")
    for key, run in runs.items():
        agree(key, run(), runs["scipy leastsq"](), 1e-3)
    return compare("one biexponential + offset, N = 1,000", runs, repeats, "scipy leastsq", {}, block=20)


def _lmfit(t: Array, y: Array) -> Callable[[], Array]:
    import lmfit

    def decay(t: Array, a: float, b: float, c: float, d: float, e: float) -> Array:
        return unseparated(np.array([a, b, c, d, e]), t, np.zeros(1))

    model = lmfit.Model(decay)

    def run() -> Array:
        found = model.fit(y, t=t, a=1.0, b=7.0, c=1.0, d=5.0, e=0.3)
        return np.array([found.params["a"].value, found.params["b"].value])

    return run


def many_right_hand_sides(repeats: int) -> dict[str, Any]:
    """1,000 right-hand sides that share two lifetimes, N = 1,024."""
    rng = np.random.default_rng(1)
    t = np.linspace(0, 12.5, 1024)
    y = basis(t, [1.0, 3.0]) @ rng.uniform(0, 100, (3, 1000)) + 0.1 * rng.standard_normal((1024, 1000))

    def ours() -> Array:
        return varpro.fit(basis, t, y, [2.0, 6.5], derivative=(PAIRS, columns), cost_tolerance=TOLERANCE).nonlinear

    def peer() -> Array:
        return scipy.optimize.leastsq(projected, [2.0, 6.5], args=(t, y), Dfun=kaufman)[0]

    agree("many right-hand sides", ours(), peer(), 1e-6)
    runs = {"varpro, Python basis": ours, "NumPy variable projection": peer}
    return compare("1,000 right-hand sides, N = 1,024", runs, repeats, "NumPy variable projection", {})


def many_curves(repeats: int) -> dict[str, Any]:
    """10,000 independent biexponentials with offsets, 256 points; scipy's loop does 200 of them.  Start (1, 7)."""
    rng, count, some, start = np.random.default_rng(2), 10_000, 200, [1.0, 7.0]
    t = np.linspace(0, 12.5, 256)
    tau = np.stack([rng.uniform(0.8, 1.2, count), rng.uniform(2.7, 3.3, count)], axis=1)
    a = rng.uniform(20, 100, (count, 3))
    y = a[:, :1] * np.exp(-t / tau[:, :1]) + a[:, 1:2] * np.exp(-t / tau[:, 1:]) + a[:, 2:]
    y += 0.5 * rng.standard_normal(y.shape)

    def loop() -> Array:
        full = [*start, 50.0, 50.0, 50.0]
        return np.array(
            [scipy.optimize.leastsq(unseparated, full, args=(t, row), Dfun=_derivative)[0][:2] for row in y[:some]]
        )

    runs = {
        "varpro, ready model": lambda: varpro.fit_batch(MODEL, t, y, start, threads=1).nonlinear,
        "varpro, Python basis": lambda: varpro.fit_batch(basis, t, y, start, derivative=(PAIRS, columns)).nonlinear,
        "varpro, basis, no derivative": lambda: varpro.fit_batch(basis, t, y, start).nonlinear,
        "scipy leastsq in a loop": loop,
        "NumPy batched projection": lambda: numpy_batched(t, y, start),
    }
    first = runs["varpro, ready model"]()
    for key in ("varpro, Python basis", "varpro, basis, no derivative"):
        agree(key, runs[key](), first, 1e-4)
    theirs = np.sort(loop(), axis=1)
    found = np.abs(theirs / np.sort(first[:some], axis=1) - 1).max(axis=1) < 1e-2
    print(f"scipy's loop finds the same minimum in {found.sum()} of {some} problems")
    return compare(
        "10,000 independent fits of 256 points", runs, max(repeats // 2, 3), "scipy leastsq in a loop",
        {"scipy leastsq in a loop": count / some},
    )  # fmt: skip


def _derivative(p: Array, t: Array, y: Array) -> Array:
    first, second = np.exp(-t / p[0]), np.exp(-t / p[1])
    return np.stack(
        [p[2] * first * t / p[0] ** 2, p[3] * second * t / p[1] ** 2, first, second, np.ones_like(t)], axis=1
    )


def snapshots() -> tuple[Array, Array, Array]:
    """200 x 500 snapshots with 1 % noise, their times, and the six eigenvalues."""
    rng = np.random.default_rng(3)
    true = np.array([-0.1 + 2j, -0.1 - 2j, 0.02 + 5j, 0.02 - 5j, -0.3 + 9j, -0.3 - 9j])
    t = np.linspace(0, 8, 500)
    modes = rng.standard_normal((200, 3)) + 1j * rng.standard_normal((200, 3))
    clean = 2 * np.real(sum(np.outer(modes[:, j], np.exp(true[2 * j] * t)) for j in range(3)))
    return clean + 0.01 * clean.std() * rng.standard_normal(clean.shape), t, true


def bagged_dmd(repeats: int) -> dict[str, Any]:
    """Twenty fits of 60 % of the snapshots."""
    x, t, true = snapshots()
    runs: dict[str, Callable[[], Any]] = {"varpro.dmd": lambda: varpro.dmd(x, t, 6, trials=20, trial_size=0.6)}
    errors, peer = np.sort(np.abs(runs["varpro.dmd"]().stderr_eigenvalues)), "varpro.dmd"
    print(f"varpro.dmd: standard errors {errors}")
    if importlib.util.find_spec("pydmd"):
        from pydmd import BOPDMD

        def bopdmd() -> Any:
            return BOPDMD(svd_rank=6, num_trials=20, trial_size=0.6).fit(x, t)

        runs["PyDMD BOPDMD"], peer = bopdmd, "PyDMD BOPDMD"
        found = bopdmd()
        off = max(float(np.abs(found.eigs - z).min() / abs(z)) for z in true)
        spread = np.sort(found.eigenvalues_std) * np.sqrt(0.6 / 0.4)  # of parts that share most snapshots
        print(f"BOPDMD: eigenvalue error {off:.1e}, standard errors {spread}")
        assert off < 1e-3
        assert np.all((spread < 2.0 * errors) & (errors < 2.0 * spread))
    else:
        print("pydmd is not installed: skipped")
    return compare("bagged DMD, 200 x 500, rank 6, 20 trials", runs, repeats, peer, {})


def optimised_dmd(repeats: int) -> dict[str, Any]:
    """Optimised DMD."""
    x, t, true = snapshots()

    def error(values: Array) -> float:
        return float(max(np.abs(values - z).min() / abs(z) for z in true))

    runs: dict[str, Callable[[], Any]] = {"varpro.dmd": lambda: varpro.dmd(x, t, 6).eigenvalues}
    print(f"varpro.dmd: eigenvalue error {error(runs['varpro.dmd']()):.1e}")
    peer = "varpro.dmd"
    if importlib.util.find_spec("pydmd"):
        from pydmd import BOPDMD

        def bopdmd() -> Array:
            return BOPDMD(svd_rank=6, num_trials=0).fit(x, t).eigs

        runs["PyDMD BOPDMD"], peer = bopdmd, "PyDMD BOPDMD"
        print(f"BOPDMD: eigenvalue error {error(bopdmd()):.1e}")
    else:
        print("pydmd is not installed: skipped")
    return compare("optimised DMD, 200 x 500, rank 6", runs, repeats, peer, {})


def main() -> None:
    """Run all, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with blas_threads(1):
        works = (one_curve, many_right_hand_sides, many_curves, optimised_dmd, bagged_dmd)
        rows = [work(options.repeats) for work in works]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
