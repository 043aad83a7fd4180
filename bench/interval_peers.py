"""Profile intervals and bootstrap beside lmfit: prints the numbers that tests/fit/test_profile.py holds.

    python bench/interval_peers.py [--repeats 5]

Answers are compared before anything is timed; the last lines are ratios of times, ours / lmfit's.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import varpro
from tests.fit.test_profile import LMFIT, data
from varpro.arrays import Array


def lmfit_intervals(t: Array, y: Array, sigmas: list[float]) -> tuple[Any, dict[str, list[tuple[float, float]]]]:
    """lmfit's minimum and conf_interval of two decays and an offset."""
    import lmfit

    def residual(p: Any) -> Array:
        v = p.valuesdict()
        return v["exp_1"] * np.exp(-t / v["tau_1"]) + v["exp_2"] * np.exp(-t / v["tau_2"]) + v["offset"] - y

    start = lmfit.Parameters()
    for name, value in {"tau_1": 0.7, "tau_2": 4.0, "exp_1": 3.0, "exp_2": 3.0, "offset": 0.5}.items():
        start.add(name, value=value)
    found = lmfit.Minimizer(residual, start)
    best = found.minimize(method="leastsq", ftol=1e-14, xtol=1e-14)
    return best, lmfit.conf_interval(found, best, sigmas=sigmas)


def timed(run: Callable[[], object], repeats: int) -> float:
    """The median time in seconds."""
    out = []
    for _ in range(repeats):
        clock = time.perf_counter()
        run()
        out.append(time.perf_counter() - clock)
    return statistics.median(out)


def main() -> None:
    """Compare, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    t, y = data()
    _, theirs = lmfit_intervals(t, y, [0.95])
    fit = varpro.fit(varpro.models.Exponentials(2, offset=True), t, y)
    for name, rows in theirs.items():
        ends = (rows[0][1], rows[-1][1])
        ours = fit.profile(name)
        off = max(abs(ours.lower - ends[0]), abs(ours.upper - ends[1])) / (ends[1] - ends[0])
        print(f'    "{name}": ({ends[0]:.8f}, {ends[1]:.8f}),  # ours differ by {off:.1e} of the width')
        assert off < 1e-3, name
        assert np.allclose(LMFIT[name], ends, rtol=1e-6), name
    many = varpro.models.Exponentials(2, offset=True)
    rng, long = np.random.default_rng(0), np.linspace(0.0, 12.5, 1000)
    noisy = many(long, np.array([1.0, 3.0])) @ [4.0, 2.5, 1.0] + 0.02 * rng.standard_normal(1000)
    whole = varpro.fit(many, long, noisy)
    ours = timed(lambda: [fit.profile(name) for name in fit.names], repeats)
    peer = timed(lambda: lmfit_intervals(t, y, [0.95]), repeats)
    print(f"profiles of the nonlinear parameters: {ours / peer:.3f} of the time of lmfit's conf_interval of all")
    for kind in ("residual", "parametric", "cases"):
        ours = timed(lambda kind=kind: whole.bootstrap(1000, kind), repeats)
        peer = timed(lambda: lmfit_intervals_free(long, noisy), repeats)
        print(f"{kind} bootstrap of 1,000 refits with 1,000 points: {ours / (1000 * peer):.5f} of 1,000 fits by lmfit")


def lmfit_intervals_free(t: Array, y: Array) -> object:
    """One fit by lmfit, from which a bootstrap would be made."""
    import lmfit

    model = lmfit.Model(lambda t, tau_1, tau_2, exp_1, exp_2, offset: (
        exp_1 * np.exp(-t / tau_1) + exp_2 * np.exp(-t / tau_2) + offset
    ))  # fmt: skip
    return model.fit(y, t=t, tau_1=1.0, tau_2=3.0, exp_1=4.0, exp_2=2.5, offset=1.0)


if __name__ == "__main__":
    main()
