"""The search of small problems in compiled code: to the end for a ready model, one step per call for the user's own.

The decisions are those of search.loop, made by the same code.  What this saves is the interpreter's work between
evaluations, which costs more than the arithmetic of a curve.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.gauss_newton import least_effect
from varpro.kernels import small_fits
from varpro.kernels.search import Rules
from varpro.kernels.small_fits import Past, States
from varpro.problems.compiled_form import CompiledForm
from varpro.result import IterationRecord, SearchResult, Trials
from varpro.search.loop import Observer

Step = Callable[[Array, Array], None]
RECORDED = ("status", "cost", "used_damping", "gain", "accepted", "iterations")


@dataclass(frozen=True, slots=True)
class CompiledEvaluation:
    """What remains of the evaluation of b problems when their compiled search ends."""

    problems: Array
    a: Array
    """The amplitudes, (b, I, K)."""
    rank: Array
    """The rank of the basis, (b,)."""


CompiledResult = SearchResult[CompiledEvaluation]


def search_compiled(
    small: CompiledForm,
    u0: Array,
    problems: Array,
    rules: Rules,
    observe: Observer | None = None,
    keep_history: bool = False,
) -> tuple[CompiledResult, Array]:
    """Search problems (b,) from u0 (b, F).

    Returns what was found, and the problems that are not in it because their basis was rank-deficient somewhere: they
    are left to the truncated factorisation.
    """
    states = States(u0, small.basis.n_columns, small.y.shape[2])
    records = _run(small, problems, states, rules, observe, keep_history)
    return found_by(small, states, problems, records)


def found_by(
    small: CompiledForm, states: States, problems: Array, records: Sequence[IterationRecord]
) -> tuple[CompiledResult, Array]:
    """What states (b,) hold of problems (b,), and those left to the truncated factorisation, which leave no records."""
    numbers, w, a, here, left = states.numbers, states.w, states.a, problems, problems[:0]
    effect = least_effect(w, _curvature(small, states), states.natural, numbers["terms"], numbers["size"])
    done = numbers["status"] != small_fits.BEYOND
    if not done.all():
        numbers, w, a, effect = numbers[done], w[done], a[done], effect[done]
        here, left, records = problems[done], problems[~done], []
    found = SearchResult(
        w=w.copy(),
        cost=numbers["cost"].copy(),
        status=numbers["status"].astype(int),
        iterations=numbers["iterations"].astype(int),
        evaluations=numbers["evaluations"].astype(int),
        effect=effect,
        evaluation=CompiledEvaluation(here, a.copy(), small.rank(a)),
        history=records,
    )
    return found, left


def _curvature(small: CompiledForm, states: States) -> Array:
    """diag H, (b, F); infinite where a bound holds a parameter back."""
    diagonal = np.diagonal(states.h, axis1=1, axis2=2)
    if small.box is None:
        return diagonal
    (lower, upper), w, gradient = small.box, states.w, states.gradient
    return np.where(((w <= lower) & (gradient > 0)) | ((w >= upper) & (gradient < 0)), np.inf, diagonal)


def _run(
    small: CompiledForm,
    problems: Array,
    states: States,
    rules: Rules,
    observe: Observer | None,
    keep_history: bool,
) -> Sequence[IterationRecord]:
    """Evaluate where the states ask for it until all have stopped; a ready model runs alone unless trials are
    observed, or their ranks, which vary with the active set, are to be kept."""
    if small.program is not None and observe is None and not (keep_history and small.limits is not None):
        most = 20 * int(rules.max_iterations) if keep_history and len(problems) == 1 else 0
        log = small_fits.search_program(
            small.program, small.basis.points, small.raw, problems, small.pairs, states, rules, n_logged=most,
            weights=small.weights, ridge=small.ridge, kaufman=small.kaufman, limits=small.limits, box=small.box,
            spans=small.spans,
            links=small.links, parts=small.parts,
        )  # fmt: skip
        ranks = small.rank(states.a[:1])
        return Trials(lambda: _records(log, problems[:1], ranks))
    with np.errstate(all="ignore"):  # the status says which problems are not finite
        return _step_by_step(small, problems, states, rules, observe, keep_history)


def _step_by_step(
    small: CompiledForm,
    problems: Array,
    states: States,
    rules: Rules,
    observe: Observer | None,
    keep_history: bool,
) -> Sequence[IterationRecord]:
    """Call the user's function for the model; each call of the kernel then steps all problems."""
    rows, status = np.arange(len(problems)), states.status
    step = _stepping(small, problems, states, rules)
    recording, first = keep_history or observe is not None, True
    kept, here = list[tuple[Array, Array]](), problems

    def records(trial: tuple[Array, Array]) -> list[IterationRecord]:
        now = states.holding(trial[0])
        return _records(now.numbers, trial[1], small.rank(now.a))

    while len(rows):
        step(rows, here)
        if recording and not first:
            trial = states.rows[rows], here
            if keep_history:
                kept.append(trial)
            if observe is not None:
                for record in records(trial):
                    observe(record)
        first = False
        ended = status[rows]
        if np.count_nonzero(ended):
            rows = rows[ended == 0]
            here = problems[rows]
    return Trials(lambda: [record for trial in kept for record in records(trial)])


def _stepping(small: CompiledForm, problems: Array, states: States, rules: Rules) -> Step:
    """One trial of the problems `here` (c,), whose states are `rows` (c,)."""
    basis, pairs, count, ridge, kaufman = small.basis, small.pairs, len(problems), small.ridge, small.kaufman

    def by_derivatives(rows: Array, here: Array) -> None:
        phi, d = evaluate(states.trial if len(rows) == count else states.trial[rows], here)
        small_fits.advance(
            phi, d, small.y, here, pairs, states, rows, rules, ridge=ridge, kaufman=kaufman, limits=small.limits,
            box=small.box,
        )  # fmt: skip

    def by_secants(rows: Array, here: Array) -> None:
        phi = basis.basis(states.trial[rows], here)
        small_fits.secants(phi, None, small.y, here, pairs, states, past, rows, rules, ridge=ridge, kaufman=kaufman)
        wanting = (states.asks[rows] == small_fits.LINEARISE) & (states.status[rows] == 0)
        if not wanting.any():
            return
        rows, here = rows[wanting], here[wanting]
        d = basis.slopes(states.trial[rows], here, past.phi.mT, rows)
        small_fits.secants(None, d, small.y, here, pairs, states, past, rows, rules, ridge=ridge, kaufman=kaufman)

    if basis.has_secants and small.limits is None and small.box is None:
        past = Past(states, small.y.shape[1], len(pairs.columns))
        return by_secants
    evaluate = (basis.direct(int(problems[0])) if count == 1 else None) or basis.both
    return by_derivatives


def _records(numbers: Array, problems: Array, ranks: Array) -> list[IterationRecord]:
    """Records from the states (n,) after one trial each of problems (n,), or after every trial of one problem; ranks as
    long as problems."""
    columns = [numbers[name].tolist() for name in RECORDED]
    names, found = (
        each.tolist() if len(problems) == len(numbers) else each.tolist() * len(numbers) for each in (problems, ranks)
    )
    return [
        IterationRecord(
            problem=problem,
            iteration=int(iterations) - (1 if accepted and status == 0 else 0),  # the next iteration has already begun
            cost=cost,
            damping=used,
            gain=gain,
            accepted=bool(accepted),
            rank=rank,
        )
        for problem, rank, status, cost, used, gain, accepted, iterations in zip(names, found, *columns, strict=True)
    ]
