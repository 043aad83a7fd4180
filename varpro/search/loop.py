"""Levenberg-Marquardt on the variable projection functional: one loop for every user of the engine.

B problems of one shape advance together, each with its own damping, acceptance and status; a finished problem leaves
the batch, so that the slowest one does not set the cost of all.  The step may come from a Cholesky factorisation of the
Gauss-Newton matrix or from conjugate gradients on matrix-free products; the loop does not know which.  What is
accepted, how a step is damped and when a search ends is decided by kernels.search, as in the compiled searches.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from varpro.arrays import Array, namespace, to_host
from varpro.arrays.batch import changed, choose, join, scatter, take
from varpro.gauss_newton import Step, least_effect
from varpro.kernels.search import Decision, Rules, asking
from varpro.problems.interface import Evaluated, Linearisation, Problem
from varpro.result import IterationRecord, SearchResult
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination, rules_of

Found = TypeVar("Found", bound=Evaluated)
Observer = Callable[[IterationRecord], None]
Box = tuple[Array, Array]


def search(
    problem: Problem[Found],
    w0: Array,
    *,
    damping: DampingRule,
    termination: Termination,
    observe: Observer | None = None,
    keep_history: bool = True,
    problems: Array | None = None,
    box: Box | None = None,
    decision: Decision | None = None,
    numbers: Array | None = None,
    between: Callable[[Array, Array], None] | None = None,
) -> SearchResult[Found]:
    """Minimise B costs from w0 (B, P) float64, keeping the best iterate of each.

    observe is called with every trial of every problem.
    keep_history : False leaves the records out of the result; one record per trial adds up for a million problems.
    problems : their numbers (B,), ascending, in a problem that has more; 0, 1, ..., B - 1 by default.
    box : lower and upper (P,), which the steps respect up to rounding.
    decision : another carrier of the rules, for tests.
    between : called with w (b, P) and numbers (b,) after a new iterate; a later search from them, given as w0 and
    `numbers`, goes on in the same steps, if damping.diagonal_memory is 0 and the problem is the same.
    """
    places = np.arange(len(w0)) if problems is None else problems
    rules, decide = rules_of(damping, termination), decision or Decision()
    current = problem.evaluate(namespace(w0).array(w0, dtype=np.float64), places)
    begun = decide.begin(rules, current.cost, current.terms, problem.size(places)) if numbers is None else numbers
    state = _State(current, begun, np.full(len(begun), np.inf))
    model: Linearisation | None = None
    finished: list[_State[Found]] = []
    history: list[IterationRecord] = []
    told = [tell for tell in (history.append if keep_history else None, observe) if tell is not None]
    while state.running.any():
        running = _leave_finished(state, finished)
        state, model = take(running, state), None if model is None else take(running, model)
        if model is None or state.fresh.any():
            diagonal, stale = None if model is None else model.diagonal, None if state.fresh.all() else model
            model = None  # which may hold most of the memory: it goes before the next one is made
            model = _linearise(problem, state, stale, diagonal, rules.diagonal_memory)
        state, step = _step(decide, rules, state, model)
        if not state.running.any():
            break
        running = _leave_finished(state, finished)
        state, model, step = take(running, state), take(running, model), take(running, step)
        w = state.current.w + step.delta
        trial = problem.evaluate(w if box is None else np.clip(w, *box), state.current.problems)
        decide.judge(rules, state.numbers, trial.cost, trial.terms)
        state = replace(state, current=choose(state.fresh, trial, state.current))
        for record in _records(state) if told else ():
            for tell in told:
                tell(record)
        if (state.fresh & state.running).any():
            renewed = problem.renew(state.current)
            if renewed is not state.current:  # on other data, where the iterate has another cost to be compared with
                state.numbers["cost"] = to_host(renewed.cost)
            state = replace(state, current=renewed)
            if between is not None:
                between(to_host(state.current.w), state.numbers)
    return _result([*finished, state], history)


@dataclass(frozen=True, slots=True)
class _State(Generic[Found]):
    """The problems still in the batch, b of them; the arrays have the problem as first axis."""

    current: Found
    numbers: Array
    """The numbers of each search, (b,) of kernels.search.NUMBERS."""
    effect: Array
    """The least effect of a parameter, (b,); see gauss_newton.least_effect."""

    @property
    def fresh(self) -> Array:
        """(b,) whether the iterate has moved and needs a new linearisation; after a rejected step the old one is
        reused."""
        return self.numbers["fresh"] != 0

    @property
    def running(self) -> Array:
        """(b,) whether the search goes on."""
        return self.numbers["status"] == 0


def _leave_finished(state: _State[Found], finished: list[_State[Found]]) -> Array:
    """(b,) which problems still run; the others are added to those that have finished."""
    running = state.running
    if not running.all():
        finished.append(take(~running, state))
    return running


def _linearise(
    problem: Problem[Found], state: _State[Found], stale: Linearisation | None, diagonal: Array | None, memory: float
) -> Linearisation:
    """A new quadratic model for the problems that have moved, `stale` for the others; its scaling remembers the
    previous one, diagonal (b, P)."""
    fresh = state.fresh
    part = problem.linearise(take(fresh, state.current))
    whole = part if stale is None else scatter(fresh, stale, part)
    if diagonal is None or not memory:
        return whole
    return changed(whole, diagonal=np.maximum(whole.diagonal, memory * diagonal))


def _step(decide: Decision, rules: Rules, state: _State[Found], model: Linearisation) -> tuple[_State[Found], Step]:
    """The steps to try (b, P), each solved as often, and with the damping, that the decision requires; and the state,
    which now has the effect of the parameters."""
    numbers, diagonal = state.numbers, to_host(model.diagonal)
    w, natural = to_host(state.current.w), None if model.natural is None else to_host(model.natural)
    gradient, curvature = to_host(model.gradient), to_host(model.curvature)
    decide.open(rules, numbers, gradient, curvature, natural)
    state = replace(state, effect=least_effect(w, curvature, natural, numbers["terms"], numbers["size"]))
    step = Step(np.empty(0), np.empty(0), np.empty(0))
    first = True
    while len(rows := asking(numbers)):
        whole = len(rows) == len(numbers)
        some = np.zeros(len(numbers), dtype=bool)
        some[rows] = True
        part = (model if whole else take(some, model)).solve(numbers["trial_damping"][rows])
        if first and not whole:
            step = Step(namespace(part.delta).zeros(w.shape), np.zeros(len(w)), np.zeros(len(w), dtype=bool))
        first = False
        step = part if whole else scatter(some, step, part)
        on_host = Step(to_host(part.delta), to_host(part.predicted), to_host(part.solved))
        decide.look(rules, numbers, rows, w, natural, gradient, diagonal, on_host)
    return state, step


def _records(state: _State[Found]) -> list[IterationRecord]:
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


def _result(finished: list[_State[Found]], history: list[IterationRecord]) -> SearchResult[Found]:
    order = np.argsort(np.concatenate([part.current.problems for part in finished]))
    whole = join(finished, order)
    numbers = whole.numbers
    return SearchResult(
        w=whole.current.w,
        cost=whole.current.cost,
        status=numbers["status"].astype(int),
        iterations=numbers["iterations"].astype(int),
        evaluations=numbers["evaluations"].astype(int),
        effect=whole.effect,
        evaluation=whole.current,
        history=history,
    )
