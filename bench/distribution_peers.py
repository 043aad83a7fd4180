"""Bounded and smooth amplitudes beside DeerLab's snlls: the same problem, the same operator and the same ridge.

    python bench/distribution_peers.py [--repeats 5]

Answers are compared before anything is timed; the ratios are those of CPU time on one core, ours / DeerLab's.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import deerlab
import numpy as np

import varpro
from varpro import models
from varpro.arrays import Array
from varpro.fitting.smoothness import second_differences

CLOSE = 1e-4
"""Largest difference of an answer, as a share of the largest."""
T = np.linspace(0.0, 12.5, 200)
R, TIME = np.linspace(1.5, 6.0, 60), np.linspace(0.0, 3.5, 150)
PAIRS = models.dipolar_kernel(TIME, R)


def decays(t: Array, w: Array) -> Array:
    """Two decays, a third that the data do not have, and an offset."""
    return np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t), t * np.exp(-t)], axis=-1)


def deer(t: Array, r: Array, w: Array) -> Array:
    """Dipolar evolution with a modulation depth and a background."""
    return (1.0 - w[0] + w[0] * PAIRS) * np.exp(-w[1] * t)[:, None]


def apart(ours: varpro.FitResult, theirs: Any) -> float:
    """The largest difference of parameters and amplitudes, as a share of the largest of each."""
    pairs = ((ours.nonlinear, theirs.nonlin), (ours.linear, theirs.lin))
    return max(float(np.abs(one - np.asarray(other)).max() / np.abs(one).max()) for one, other in pairs)


def nonnegative(repeats: int) -> None:
    """Nonnegative amplitudes of a function without derivative, one of them on its bound."""
    rng = np.random.default_rng(0)
    y = decays(T, np.array([1.0, 3.0])) @ [4.0, 2.5, 1.0, -0.3] + 0.02 * rng.standard_normal(len(T))
    bounds = ([0.1, 1.5], [1.4, 20.0])

    def ours() -> varpro.FitResult:
        return varpro.fit(decays, T, y, [0.7, 4.0], bounds=bounds, linear="nonnegative")

    def theirs() -> Any:
        return deerlab.snlls(
            y, lambda w: decays(T, w), par0=[0.7, 4.0], lb=bounds[0], ub=bounds[1], lbl=np.zeros(4), reg=False,
            ftol=1e-12, xtol=1e-12,
        )  # fmt: skip

    report("nonnegative amplitudes", ours, theirs, repeats)


def two_decays(repeats: int) -> None:
    """Two decays and an offset, 1,000 points, by a ready model."""
    model, t = models.Exponentials(2, offset=True), np.linspace(0.0, 12.5, 1000)
    y = model(t, np.array([1.0, 3.0])) @ [4.0, 2.5, 1.0] + 0.02 * np.random.default_rng(0).standard_normal(1000)

    def ours() -> varpro.FitResult:
        return varpro.fit(model, t, y, [0.7, 4.0], linear="nonnegative")

    def theirs() -> Any:
        return deerlab.snlls(
            y, lambda w: model(t, np.asarray(w)), par0=[0.7, 4.0], lb=[1e-3, 1e-3], ub=[1e2, 1e2], lbl=np.zeros(3),
            reg=False, ftol=1e-12, xtol=1e-12,
        )  # fmt: skip

    report("two decays, nonnegative", ours, theirs, repeats)


def smooth(repeats: int) -> None:
    """A nonnegative distribution of distances with a given ridge."""
    rng = np.random.default_rng(0)
    kernel = models.Kernel(deer, R, ["depth", "decay"])
    shape = np.exp(-0.5 * ((R - 3.5) / 0.4) ** 2) / (0.4 * np.sqrt(2.0 * np.pi))
    y = kernel(TIME, np.array([0.35, 0.12])) @ shape + 0.005 * rng.standard_normal(len(TIME))
    bounds, alpha = ([0.05, 0.0], [1.0, 1.0]), 0.3

    def ours() -> varpro.FitResult:
        ridge = ("second-difference", alpha**2)
        return varpro.fit(kernel, TIME, y, [0.5, 0.2], bounds=bounds, linear="nonnegative", ridge=ridge)

    def theirs() -> Any:
        return deerlab.snlls(
            y, lambda w: kernel(TIME, np.asarray(w)), par0=[0.5, 0.2], lb=bounds[0], ub=bounds[1],
            lbl=np.zeros(len(R)), reg=True, regparam=alpha, regop=second_differences(len(R)), noiselvl=1.0,
            ftol=1e-12, xtol=1e-12,
        )  # fmt: skip

    report("nonnegative distribution, ridge given", ours, theirs, repeats)


def timed(run: Callable[[], object], repeats: int) -> float:
    """The median CPU time in seconds."""
    out = []
    for _ in range(repeats):
        clock = time.process_time()
        run()
        out.append(time.process_time() - clock)
    return statistics.median(out)


def report(what: str, ours: Callable[[], varpro.FitResult], theirs: Callable[[], Any], repeats: int) -> None:
    """Compare, then time."""
    fit, peer = ours(), theirs()
    off = apart(fit, peer)
    print(f"{what}: apart {off:.1e}; w {fit.nonlinear}, DeerLab {np.asarray(peer.nonlin)}")
    assert off < CLOSE, what
    seconds = timed(theirs, repeats)
    print(f"{what}: {timed(ours, repeats) / seconds:.4f} of DeerLab's time, {1e3 * seconds:.3g} ms")


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    two_decays(repeats)
    nonnegative(repeats)
    smooth(repeats)


if __name__ == "__main__":
    main()
