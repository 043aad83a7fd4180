"""Joint fits beside lmfit and DeerLab on the same three data sets: prints what tests/fit/test_joint.py holds.

    python bench/joint_peers.py [--repeats 5]

Answers are compared before anything is timed; the last lines are ratios of times, ours / theirs.
"""

import argparse
from typing import Any

import numpy as np
from interval_peers import timed

import varpro
from tests.fit.test_joint import LMFIT, MODEL, three_sets
from varpro.arrays import Array


def by_lmfit(sets: list[tuple[Array, Array, Array]]) -> Any:
    """Two shared lifetimes, own amplitudes and offsets, by lmfit.minimize with the residuals one after another."""
    import lmfit

    start = lmfit.Parameters()
    start.add("tau_1", value=0.8)
    start.add("tau_2", value=4.0)
    for s in range(len(sets)):
        for name, value in (("exp_1", 2.0), ("exp_2", 2.0), ("offset", 0.5)):
            start.add(f"{name}_{s}", value=value)

    def residual(p: Any) -> Array:
        v, out = p.valuesdict(), []
        for s, (t, y, weight) in enumerate(sets):
            curve = v[f"exp_1_{s}"] * np.exp(-t / v["tau_1"]) + v[f"exp_2_{s}"] * np.exp(-t / v["tau_2"])
            out.append(weight * (curve + v[f"offset_{s}"] - y))
        return np.concatenate(out)

    return lmfit.minimize(residual, start, ftol=1e-14, xtol=1e-14)


def by_deerlab(sets: list[tuple[Array, Array, Array]]) -> Any:
    """The same by DeerLab's snlls: the weighted sets one below another, with three columns for each."""
    import deerlab

    ends = np.cumsum([0, *(len(t) for t, _, _ in sets)])

    def columns(w: Array) -> Array:
        out = np.zeros((ends[-1], 3 * len(sets)))
        for s, (t, _, weight) in enumerate(sets):
            own = np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t)], axis=-1)
            out[ends[s] : ends[s + 1], 3 * s : 3 * s + 3] = own * np.broadcast_to(weight, t.shape)[:, None]
        return out

    y = np.concatenate([weight * y for _, y, weight in sets])
    bounds = {"lb": [1e-3, 1e-3], "ub": [1e2, 1e2]}
    return deerlab.snlls(y, columns, par0=[0.8, 4.0], **bounds, reg=False, ftol=1e-12, xtol=1e-12)


def main() -> None:
    """Compare, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    sets = three_sets()
    theirs, ours = by_lmfit(sets), varpro.fit_global(sets, MODEL)
    values = np.concatenate([ours.nonlinear, ours.linear])
    errors = np.concatenate([ours.stderr_nonlinear, ours.stderr_linear])
    for name, value, error in zip((*ours.names, *ours.linear_names), values, errors, strict=True):
        peer = theirs.params[name.replace("[", "_").rstrip("]")]
        print(f'    "{name}": ({peer.value:.8f}, {peer.stderr:.8f}),')
        assert np.isclose(value, peer.value, rtol=1e-6), name
        assert np.isclose(error, peer.stderr, rtol=1e-3), name
        assert np.allclose(LMFIT[name], (peer.value, peer.stderr), rtol=1e-3), name
    deer = by_deerlab(sets)
    off = np.abs(np.concatenate([deer.nonlin, deer.lin]) / values - 1.0).max()
    print(f"DeerLab's parameters and amplitudes differ from ours by {off:.1e} of each at most")
    assert off < 1e-3
    peer = timed(lambda: by_lmfit(sets), repeats)
    for what, w0 in (
        ("from the lifetimes that lmfit is given", [0.8, 4.0]),
        ("from lifetimes that are far off", [0.3, 20.0]),
        ("with starting values of its own", None),
    ):
        assert np.isclose(varpro.fit_global(sets, MODEL, w0).rss, theirs.chisqr, rtol=1e-9), what
        ratio = timed(lambda w0=w0: varpro.fit_global(sets, MODEL, w0), repeats) / peer
        print(f"a joint fit of three sets, {what}: {ratio:.2f} of lmfit's time, which gets all eleven starts")
    many = [set_ for _ in range(4) for set_ in sets]
    ratio = timed(lambda: varpro.fit_global(many, MODEL), repeats) / timed(lambda: by_lmfit(many), repeats)
    print(f"a joint fit of twelve sets, with starting values of its own: {ratio:.2f} of lmfit's time")
    ratio = timed(lambda: varpro.fit_global(sets, MODEL, [0.8, 4.0]), repeats) / timed(
        lambda: by_deerlab(sets), repeats
    )
    print(f"a joint fit of three sets, from the same lifetimes: {ratio:.3f} of DeerLab's time")


if __name__ == "__main__":
    main()
