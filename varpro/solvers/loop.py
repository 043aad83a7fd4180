"""Levenberg-Marquardt on the variable projection functional: one loop for every user of the engine.

B problems of one shape advance together, each with its own damping, acceptance and status; a problem that has finished
leaves the batch, so that the slowest one does not set the cost of all.  The step may come from a Cholesky factorisation
of the Gauss-Newton matrix or from conjugate gradients on matrix-free products: the loop knows neither.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from varpro.arrays import Array, choose, join, namespace, scatter, take
from varpro.gauss_newton import Step
from varpro.result import IterationRecord, SearchResult, Status
from varpro.solvers.damping import Damping, DampingRule
from varpro.solvers.termination import Termination


class Linearisation(Protocol):
    """A quadratic model of the cost around an evaluation."""

    @property
    def gradient(self) -> Array:
        """(b, P)"""

    @property
    def diagonal(self) -> Array:
        """(b, P) scaling of the damping"""

    def solve(self, damping: Array) -> Step:
        """The damped step for damping (b,)."""


class Problem(Protocol):
    """Where a cost comes from; `renew` may draw fresh data between iterations."""

    def evaluate(self, w: Array, problems: Array) -> Any: ...

    def renew(self, current: Any) -> Any: ...


Observer = Callable[[IterationRecord], None]


def search(
    problem: Problem,
    w0: Array,
    linearise: Callable[[Any, Any], Any],
    *,
    damping: DampingRule,
    termination: Termination,
    observe: Observer | None = None,
    keep_history: bool = True,
    problems: Array | None = None,
) -> SearchResult:
    """Minimise B costs from w0 (B, P) float64; the best iterate of each is kept.

    linearise(problem, evaluation) -> Linearisation.  observe is called with every trial of every problem.
    keep_history : False leaves the records out of the result; a record a trial is much for a million problems.
    problems : their numbers (B,), ascending, in a problem that holds more; 0, 1, ..., B - 1 by default.
    """
    numbers = np.arange(len(w0)) if problems is None else problems
    state = _start(problem, namespace(w0).array(w0, dtype=np.float64), numbers, damping, termination)
    model: Any = None
    finished: list[_State] = []
    history: list[IterationRecord] = []
    while True:
        running = state.status == Status.RUNNING.value
        if not running.any():
            return _result([*finished, state], history)
        if not running.all():
            finished.append(take(~running, state))
            state, model = take(running, state), take(running, model)
        if state.fresh.any():
            model = _linearise(problem, linearise, state, model)
            state = _test_gradient(state, model, termination)
            if not (state.status == Status.RUNNING.value).all():
                continue
        state, step = _step(state, model)
        trial = problem.evaluate(state.current.w + step.delta, state.current.problems)
        gain = _gain(state.current.cost, trial.cost, step)
        used, state = state.damping.value, _advance(state, termination, step, trial, gain)
        if keep_history or observe is not None:
            records = _records(state, used, gain)
            history.extend(records if keep_history else ())
            for record in records if observe is not None else ():
                observe(record)  # type: ignore[misc]
        if state.fresh.any() and (state.status == Status.RUNNING.value).any():
            state = replace(state, current=problem.renew(state.current))


@dataclass(frozen=True, slots=True)
class _State:
    """The problems still in the batch; every array leads with their number b."""

    current: Any
    damping: Damping
    status: Array
    start_cost: Array
    iterations: Array
    evaluations: Array
    fresh: Array
    """The iterate has moved and needs a new linearisation; after a rejected step the old one serves again."""


def _start(problem: Problem, w0: Array, numbers: Array, rule: DampingRule, termination: Termination) -> _State:
    count = len(w0)
    current = problem.evaluate(w0, numbers)
    status = termination.at_start(current.cost)
    zeros = np.zeros(count, dtype=int)
    return _State(current, rule.start(count), status, current.cost, zeros, zeros + 1, np.ones(count, dtype=bool))


def _linearise(problem: Problem, linearise: Callable[[Any, Any], Any], state: _State, model: Any) -> Any:
    """A new quadratic model for the problems that have moved."""
    part = linearise(problem, take(state.fresh, state.current))
    return part if model is None else scatter(state.fresh, model, part)


def _test_gradient(state: _State, model: Linearisation, termination: Termination) -> _State:
    flat = termination.at_gradient(model.gradient, model.diagonal, state.start_cost)
    status = np.where(flat, Status.GRADIENT_TOLERANCE.value, state.status)
    return replace(state, status=status, iterations=state.iterations + state.fresh)


def _step(state: _State, model: Linearisation) -> tuple[_State, Step]:
    """The damped step, damped more where it breaks the rule's bound on its length."""
    while True:
        step = model.solve(state.damping.value)
        long = state.damping.too_long(step.delta, state.current.w, model.diagonal)
        if not long.any():
            return state, step
        state = replace(state, damping=replace(state.damping, value=state.damping.value * np.where(long, 4.0, 1.0)))


def _gain(old: Array, new: Array, step: Step) -> Array:
    """Actual over predicted reduction, (b,); NaN where the step or the trial is unusable."""
    usable = step.solved & (step.predicted > 0) & np.isfinite(new)
    return np.divide(old - new, step.predicted, out=np.full(len(old), np.nan), where=usable)


def _advance(state: _State, termination: Termination, step: Step, trial: Any, gain: Array) -> _State:
    """Accept or reject each trial, move its damping, test whether the problem has finished."""
    old, w = state.current.cost, state.current.w
    first = state.fresh & step.solved  # a step made small by raised damping promises little, and says nothing
    last = first & termination.at_rounding(old, step.predicted)
    accepted = state.damping.accepts(gain) | (last & termination.harmless(old, trial.cost))
    damping = state.damping.after(np.where(last, 1.0, gain), accepted)
    moved = termination.after_step(old, trial.cost, step.predicted, step.delta, w, state.iterations)
    stuck = np.where(damping.exhausted(), Status.STALLED.value, Status.RUNNING.value)
    return replace(
        state,
        current=choose(accepted, trial, state.current),
        damping=damping,
        status=np.where(last, Status.COST_TOLERANCE.value, np.where(accepted, moved, stuck)),
        evaluations=state.evaluations + 1,
        fresh=accepted,
    )


def _records(state: _State, used: Array, gain: Array) -> list[IterationRecord]:
    current = state.current
    return [
        IterationRecord(
            problem=int(problem),
            iteration=int(state.iterations[i]),
            cost=float(current.cost[i]),
            damping=float(used[i]),
            gain=float(gain[i]),
            accepted=bool(state.fresh[i]),
            rank=int(current.rank[i]),
        )
        for i, problem in enumerate(current.problems)
    ]


def _result(finished: list[_State], history: list[IterationRecord]) -> SearchResult:
    order = np.argsort(np.concatenate([part.current.problems for part in finished]))
    whole = join(finished, order)
    return SearchResult(
        w=whole.current.w,
        cost=whole.current.cost,
        status=whole.status,
        iterations=whole.iterations,
        evaluations=whole.evaluations,
        evaluation=whole.current,
        history=history,
    )
