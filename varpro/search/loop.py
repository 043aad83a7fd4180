"""Levenberg-Marquardt on the variable projection functional: one loop for every user of the engine.

B problems of one shape advance together, each with its own damping, acceptance and status; a problem that has finished
leaves the batch, so that the slowest one does not set the cost of all.  The step may come from a Cholesky factorisation
of the Gauss-Newton matrix or from conjugate gradients on matrix-free products: the loop knows neither.  What is
accepted, how a step is damped and when a search ends is decided by kernels.search, as in the compiled searches.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from varpro.arrays import Array, choose, join, namespace, scatter, take, to_host
from varpro.gauss_newton import Step
from varpro.kernels.search import Decision, Rules, asking
from varpro.result import IterationRecord, SearchResult
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination, rules_of


class Linearisation(Protocol):
    """A quadratic model of the cost around an evaluation."""

    @property
    def gradient(self) -> Array:
        """(b, P)"""

    @property
    def diagonal(self) -> Array:
        """(b, P) scaling of the damping"""

    @property
    def natural(self) -> Array | None:
        """(b, P) the change of each parameter that changes its columns by their own size; None where not known"""

    @property
    def curvature(self) -> Array:
        """(b, P) diag H; infinite where a bound holds a parameter"""

    def solve(self, damping: Array) -> Step:
        """The damped step for damping (b,)."""


class Problem(Protocol):
    """Where a cost comes from; `renew` may draw fresh data between iterations.

    An evaluation holds problems, w, cost and rank, and terms: 1/2 (sum_j ||phi_j|| ||a_j||)^2, or 0 where not known.
    """

    def evaluate(self, w: Array, problems: Array) -> Any: ...

    def renew(self, current: Any) -> Any: ...

    def size(self, problems: Array) -> Array:
        """(b,) 1/2 ||Y||^2, in the units of the cost."""


Observer = Callable[[IterationRecord], None]
Box = tuple[Array, Array]


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
    box: Box | None = None,
    decision: Decision | None = None,
) -> SearchResult:
    """Minimise B costs from w0 (B, P) float64; the best iterate of each is kept.

    linearise(problem, evaluation) -> Linearisation.  observe is called with every trial of every problem.
    keep_history : False leaves the records out of the result; one record per trial adds up for a million problems.
    problems : their numbers (B,), ascending, in a problem that holds more; 0, 1, ..., B - 1 by default.
    box : lower and upper (P,), which the steps respect but for their rounding.
    decision : another carrier of the rules, for tests.
    """
    numbers = np.arange(len(w0)) if problems is None else problems
    rules, decide = rules_of(damping, termination), decision or Decision()
    current = problem.evaluate(namespace(w0).array(w0, dtype=np.float64), numbers)
    state = _State(current, decide.begin(rules, current.cost, current.terms, problem.size(numbers)))
    model: Any = None
    finished: list[_State] = []
    history: list[IterationRecord] = []
    while True:
        if not state.running.any():
            return _result([*finished, state], history)
        state, model, _ = _part(state, finished, model, None)
        model = _linearise(problem, linearise, state, model, rules.diagonal_memory)
        step = _step(decide, rules, state, model)
        if not state.running.any():
            return _result([*finished, state], history)
        state, model, step = _part(state, finished, model, step)
        w = state.current.w + step.delta
        trial = problem.evaluate(w if box is None else np.clip(w, *box), state.current.problems)
        decide.judge(rules, state.numbers, trial.cost, trial.terms)
        state = replace(state, current=choose(state.fresh, trial, state.current))
        if keep_history or observe is not None:
            records = _records(state)
            history.extend(records if keep_history else ())
            for record in records if observe is not None else ():
                observe(record)  # type: ignore[misc]
        if (state.fresh & state.running).any():
            state = replace(state, current=problem.renew(state.current))


@dataclass(frozen=True, slots=True)
class _State:
    """The problems still in the batch; both lead with their number b."""

    current: Any
    numbers: Array
    """(b,) of kernels.search.NUMBERS"""

    @property
    def fresh(self) -> Array:
        """(b,) The iterate has moved and needs a new linearisation; after a rejected step the old one serves again."""
        return self.numbers["fresh"] != 0  # type: ignore[no-any-return]

    @property
    def running(self) -> Array:
        """(b,)"""
        return self.numbers["status"] == 0  # type: ignore[no-any-return]


def _part(state: _State, finished: list[_State], model: Any, step: Any) -> tuple[_State, Any, Any]:
    """The problems that still run, of which there are some; the others are put with those that have finished."""
    running = state.running
    if running.all():
        return state, model, step
    finished.append(take(~running, state))
    return take(running, state), take(running, model), take(running, step)


def _linearise(
    problem: Problem, linearise: Callable[[Any, Any], Any], state: _State, model: Any, memory: float
) -> Any:
    """A new quadratic model for the problems that have moved; its scaling remembers the one before."""
    fresh = state.fresh
    if not fresh.any():
        return model
    part = linearise(problem, take(fresh, state.current))
    if model is None:
        return part
    whole = scatter(fresh, model, part)
    return replace(whole, diagonal=np.maximum(whole.diagonal, memory * model.diagonal)) if memory else whole


def _step(decide: Decision, rules: Rules, state: _State, model: Any) -> Step | None:
    """The steps to try (b, P), each solved for as often, and with the damping, that the decision asks for."""
    numbers, diagonal = state.numbers, to_host(model.diagonal)
    w, natural = to_host(state.current.w), None if model.natural is None else to_host(model.natural)
    gradient = to_host(model.gradient)
    decide.open(rules, numbers, gradient, to_host(model.curvature), natural)
    step: Step | None = None
    while len(rows := asking(numbers)):
        whole = len(rows) == len(numbers)
        some = np.zeros(len(numbers), dtype=bool)
        some[rows] = True
        part = (model if whole else take(some, model)).solve(numbers["trial_damping"][rows])
        if step is None and not whole:
            step = Step(namespace(part.delta).zeros(w.shape), np.zeros(len(w)), np.zeros(len(w), dtype=bool))
        step = part if whole else scatter(some, step, part)
        on_host = Step(to_host(part.delta), to_host(part.predicted), to_host(part.solved))
        decide.look(rules, numbers, rows, w, natural, gradient, diagonal, on_host)
    return step


def _records(state: _State) -> list[IterationRecord]:
    current = state.current
    return [
        IterationRecord(
            problem=int(problem),
            iteration=int(numbers["iterations"]),
            cost=float(numbers["cost"]),
            damping=float(numbers["used_damping"]),
            gain=float(numbers["gain"]),
            accepted=bool(numbers["accepted"]),
            rank=int(rank),
        )
        for problem, numbers, rank in zip(current.problems, state.numbers, current.rank, strict=True)
    ]


def _result(finished: list[_State], history: list[IterationRecord]) -> SearchResult:
    order = np.argsort(np.concatenate([part.current.problems for part in finished]))
    whole = join(finished, order)
    numbers = whole.numbers
    return SearchResult(
        w=whole.current.w,
        cost=whole.current.cost,
        status=numbers["status"].astype(int),
        iterations=numbers["iterations"].astype(int),
        evaluations=numbers["evaluations"].astype(int),
        evaluation=whole.current,
        history=history,
    )
