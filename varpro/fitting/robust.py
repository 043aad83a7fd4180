"""Robust losses by reweighted least squares, accelerated and repeated until the fit has settled.

    F(w, A) = 1/2 sigma^2 sum rho(|r|^2 / sigma^2) + 1/2 mu ||A||^2        (losses_of_residuals)

F may have several valleys, and outliers may have drawn the least-squares solution into another one than that of
the start: both are followed down, and the lower end is kept.  Holland and Welsch, Commun. Stat. A6 (1977) 813-827.
"""

from dataclasses import replace

import numpy as np

from varpro.arrays import Array
from varpro.fitting.losses_of_residuals import ResidualLoss
from varpro.fitting.reweighting import Rounds
from varpro.fitting.run import run
from varpro.fitting.solution import Solution
from varpro.search.loop import Observer

FROM_START = (0, 0, 0, 0, 2, 2, 2, 2)
"""Iterations of the first searches from u0: A and the scale become robust at u0 before w moves, then w moves a little
at a time.  A full search under weights that outliers still influence may end in another valley."""


def robust_solution(
    squares: Solution,
    u0: Array,
    loss: ResidualLoss,
    scale: float | None,
    observe: Observer | None,
    keep_history: bool,
) -> Solution:
    """Reweighted from the least-squares solution and from u0 (B, F); each problem keeps the solution of lower loss, at
    the smaller of the two scales.

    scale : sigma in units of the weighted residual; None takes it from the median residual.
    """
    spec, unit = squares.spec, squares.spec.data.weight_unit
    own_scale = None if scale is None else scale / unit
    at_start = run(replace(spec, termination=replace(spec.termination, max_iterations=0)), u0)
    one = Rounds(squares, loss, own_scale, observe, keep_history).run()
    two = Rounds(replace(at_start, spec=spec), loss, own_scale, observe, keep_history).run(FROM_START, one)
    common = np.fmin(one.sigma, two.sigma)
    return _lower_of(one, two, two.elsewhere & (two.objective(common) < one.objective(common)))


def _lower_of(one: Rounds, two: Rounds, better: Array) -> Solution:
    """`two` for the problems where better (B,) holds, else `one`, with the evaluations of both counted."""

    def pick(a: Array, b: Array) -> Array:
        return np.where(better.reshape(-1, *[1] * (a.ndim - 1)), b, a)

    history = [r for r in one.history if not better[r.problem]]
    history += [r for r in two.history if better[r.problem]]
    robust = pick(one.robust, two.robust)
    return Solution.of(
        one.spec.weighted(robust),
        {name: pick(array, two.whole[name]) for name, array in one.whole.items()},
        history,
        robust_weights=robust,
        loss=one.loss.name,
        loss_scale=one.spec.data.weight_unit * pick(one.sigma, two.sigma),
    )
