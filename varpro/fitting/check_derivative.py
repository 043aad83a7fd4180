"""Analytic derivative columns, compared with differences whose own error is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, ArrayLike, on_host, to_host
from varpro.errors import ConfigError
from varpro.fitting.make_model import make_model
from varpro.fitting.model import Function, UserModel
from varpro.fitting.stencil import FOURTH, Plan, largest, place, slopes
from varpro.fitting.trial import Guarded, first_guess, numeric_derivative

RIGHT = 1e-5
"""Largest error of a derivative that still counts as right, relative to the largest value of the column."""
LADDER = np.exp2(np.arange(-10.0, 11.0))
"""Steps tried, relative to the best one for the column that moves most; each pair picks the ones that suit it."""


def check_derivative(
    model: Function, t: ArrayLike, w: Sequence[float] | Array, derivative: tuple[ArrayLike, Function] | None = None
) -> float:
    """Largest relative error of analytic derivative columns against differences; raises if one of them is wrong.

    model : (t, w) -> (N, I).  derivative : (pairs, columns), or None for a model that brings its own.
    The differences are of fourth order, with steps from the scales of the columns; where two steps disagree, the limit
    of 1e-5 is widened by as much.
    ConfigError names the pair whose column is wrong, or which is missing though the column moves.
    """
    start = np.atleast_1d(to_host(w))
    start = start.astype(complex if np.iscomplexobj(start) else float)
    t, derivative = to_host(t), on_host(derivative)
    tried = make_model(model, t, start[None], len(t), own_t=False, derivative=derivative, batch=False)
    if tried.derivative != "analytic":
        raise ConfigError("check_derivative needs derivative=(pairs, columns), or a model with pairs and columns")
    given = tried.derivatives(start[None], np.zeros(1, dtype=int))[0]
    reference = differences(tried, start)
    worst = 0.0
    for m, (j, p) in enumerate(reference.pairs):
        listed = (tried.pairs[:, 0] == j) & (tried.pairs[:, 1] == p)
        ours, truth = given[:, listed].sum(axis=1), reference.d[:, m]
        both = np.isfinite(truth)
        error = float(np.abs(np.where(both, ours - truth, 0.0)).max(initial=0.0))
        size = float(max(np.abs(truth[both]).max(initial=0.0), np.abs(ours[both]).max(initial=0.0)))
        if not error <= RIGHT * size + 10.0 * reference.error[m]:
            what = "is wrong" if listed.any() else "is missing from pairs, but the column moves"
            raise ConfigError(
                f"derivative: pair (column {j}, parameter {p}) {what}: off by {error:.2g} of {size:.2g} "
                f"against differences, whose own error is {reference.error[m]:.1g}"
            )
        if size > 0 and error > 0:
            worst = max(worst, error / size)
    return worst


@dataclass(frozen=True)
class Reference:
    """Differences of all pairs, and what is known of their error."""

    pairs: Array
    d: Array
    """The derivatives, (N, M)."""
    error: Array
    """A bound on the error anywhere in the column, (M,)."""


def differences(model: UserModel, w: Array) -> Reference:
    """The derivatives of all columns by all parameters at w (P,), for each pair from the two steps that agree best."""
    one, count = np.zeros(1, dtype=int), len(w)
    open_ = np.full(count, np.inf)
    numeric = numeric_derivative(
        model.values, w[None], model.values(w[None], one)[0], wanted="differences",
        guess=first_guess(w[None], -open_, open_, None),
        lower=-open_, upper=open_, moving=np.ones(count, dtype=bool), own_t=False, together=False, single=False,
        real=False, batch=True,
    )  # fmt: skip
    every = np.array([(j, p) for p in range(count) for j in range(model.shape[1])])
    plan, values = Plan.of(every, together=False), Guarded(model.values, model.shape)
    best, error, before = np.zeros((model.shape[0], len(every)), dtype=complex), np.full(len(every), np.inf), None
    with np.errstate(all="ignore"):
        for factor in LADDER:
            h, side = place(w[None], factor * numeric.scales.step(4, numeric.noise), -open_, open_, FOURTH)
            found = slopes(values, w[None], one, h, side, FOURTH, plan, stacked=False)
            d, rounding = found.d[0], 2.0 * numeric.noise * found.size[0] / h[0, every[:, 1]]
            if before is not None:
                apart = np.where(np.isfinite(d) & np.isfinite(before), d - before, np.inf)
                own = largest(apart[None])[0] + rounding
                own = np.where(np.isfinite(d).all(axis=0), own, np.inf)
                better = own < error
                best[:, better], error = d[:, better], np.where(better, own, error)
            before = d
    return Reference(every, best if np.iscomplexobj(d) else best.real, error)
