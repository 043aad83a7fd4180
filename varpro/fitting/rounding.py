"""Searches that stall where rounding hides the rest of the way.

The cost 1/2 ||r||^2 of r = y - Phi a is known to eps ||y|| ||r||, which for good fits is far more than eps of the cost:
steps that promise less can be neither confirmed nor refuted, so a search raises its damping until it gives up.  That is
convergence.  Nearly exact data, r below 1e-7 y, show the rounding of the Gram matrix before that of y: they go on with
the orthogonal factorisation.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.fitting.bounded import inside
from varpro.fitting.engine import Built, Outcome, Spec
from varpro.gauss_newton import linearise as orthogonal
from varpro.result import Status
from varpro.solvers.loop import search
from varpro.solvers.termination import ROUNDING

UNDAMPED = 1e-9
"""Damping small enough that the step is Gauss and Newton's."""
NEARLY_EXACT = 1e-7
"""||r|| / ||y||"""


def settled(spec: Spec, built: Built, outcome: Outcome) -> Outcome:
    """The outcome with stalled problems searched on or, where their undamped step promises only rounding, converged."""
    stalled = np.flatnonzero(outcome.status == Status.STALLED.value)
    if not len(stalled):
        return outcome
    outcome = replace(outcome, u=outcome.u.copy(), a=outcome.a.copy(), cost=outcome.cost.copy())
    outcome = replace(outcome, status=outcome.status.copy(), evaluations=outcome.evaluations.copy())
    outcome = replace(outcome, iterations=outcome.iterations.copy())
    size = np.linalg.norm(built.y[stalled].reshape(len(stalled), -1), axis=1)
    if built.form == "small":
        exact = np.sqrt(2.0 * outcome.cost[stalled]) <= NEARLY_EXACT * size
        _go_on(spec, built, outcome, stalled[exact])
    still = outcome.status[stalled] == Status.STALLED.value
    problems, size = stalled[still], size[still]
    residual = np.maximum(np.sqrt(2.0 * outcome.cost[problems]), ROUNDING * size)
    done = _promise(spec, built, outcome.u, problems) <= ROUNDING * size * residual
    outcome.status[problems[done]] = Status.COST_TOLERANCE
    return outcome


def _go_on(spec: Spec, built: Built, outcome: Outcome, problems: Array) -> None:
    """Search from where problems stalled, by orthogonal factorisation."""
    if not len(problems):
        return
    found = search(
        built.problem.general,
        outcome.u[problems],
        _linearise(spec, orthogonal),
        damping=replace(spec.damping, initial=UNDAMPED),
        termination=spec.termination,
        keep_history=False,
        problems=problems,
    )
    outcome.u[problems], outcome.a[problems] = found.w, found.evaluation.a
    outcome.cost[problems], outcome.status[problems] = found.cost, found.status
    outcome.iterations[problems] += found.iterations
    outcome.evaluations[problems] += found.evaluations


def _promise(spec: Spec, built: Built, u: Array, problems: Array) -> Array:
    """(b,) decrease that the quadratic model sees; infinite where it has no minimum."""
    small = built.form == "small"
    problem, make = (built.problem.general, orthogonal) if small else (built.problem, built.linearise)
    model = _linearise(spec, make)(problem, problem.evaluate(u[problems], problems))
    step = model.solve(np.full(len(problems), UNDAMPED))
    return np.where(step.solved, np.abs(step.predicted), np.inf)


def _linearise(spec: Spec, make: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Normal equations, in the box where there is one."""
    if not spec.names.bounded:
        return make
    return lambda problem, current: inside(make(problem, current), current.w, spec.names.lower, spec.names.upper)
