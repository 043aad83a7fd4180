"""The search of small problems in compiled code: to the end for a ready model, one step a call for the user's own.

The decisions are those of search.loop, by the same code; what this saves is the interpreter between evaluations, which
costs more than the arithmetic of a curve.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.kernels import small_fits
from varpro.kernels.search import Rules
from varpro.kernels.small_fits import States
from varpro.problems.small import SmallProblem
from varpro.result import IterationRecord
from varpro.search.termination import rules_of

Observer = Callable[[IterationRecord], None] | None
RECORDED = ("status", "cost", "used_damping", "gain", "accepted", "iterations")


def search_compiled(
    small: SmallProblem, spec: Any, u0: Array, problems: Array, out: Any, observe: Observer, keep_history: bool
) -> tuple[Array, list[IterationRecord]]:
    """Search problems (b,) from u0 (b, F) and store what is found in `out`.

    Returns the records, and the problems left to the truncated factorisation: the basis was not of full rank somewhere.
    """
    states = States(u0, small.basis.n_columns, small.y.shape[2])
    records = _run(small, spec, problems, states, observe, keep_history)
    left = store_states(states, problems, small.basis.n_columns, out)
    return left, [] if len(left) else records


def store_states(states: States, problems: Array, n_columns: int, out: Any) -> Array:
    """Store what was found for problems (b,) in `out`; returns those left to the truncated factorisation."""
    numbers = states.numbers
    done = numbers["status"] != small_fits.BEYOND
    here: Any = problems[done]
    rows = slice(None) if done.all() else done
    if len(here) == len(out.cost):
        here = slice(None)  # views in place of copies
    out.u[here], out.a[here], out.cost[here] = states.w[rows], states.a[rows], numbers["cost"][rows]
    out.status[here] = numbers["status"][rows].astype(int)
    out.iterations[here], out.evaluations[here] = numbers["iterations"][rows], numbers["evaluations"][rows]
    out.rank[here] = n_columns
    return problems[~done]


def _run(
    small: SmallProblem, spec: Any, problems: Array, states: States, observe: Observer, keep_history: bool
) -> list[IterationRecord]:
    """Evaluate where the states ask for it until none runs; a ready model by itself, unless each trial is told."""
    rules = rules_of(spec.damping, spec.termination)
    if small.program is not None and observe is None:
        most = 20 * spec.termination.max_iterations if keep_history and len(problems) == 1 else 0
        grid = small.basis.grid
        log = small_fits.search_program(
            small.program, grid, small.y, problems, small.pairs, states, rules, n_logged=most, **small.options
        )
        return _records(log, problems[:1], states)
    with np.errstate(all="ignore"):  # what is not finite is told by the status
        return _step_by_step(small, problems, states, rules, observe, keep_history)


def _step_by_step(
    small: SmallProblem, problems: Array, states: States, rules: Rules, observe: Observer, keep_history: bool
) -> list[IterationRecord]:
    """The model evaluated by its own function; a step of all problems a call of the kernel."""
    inner, tail = small.general.inner, states.tail
    evaluate, rows, status = _evaluator(small, problems), np.arange(len(problems)), states.status
    recording, told, kept, first = keep_history or observe is not None, list[Array](), list[Array](), True
    here, whole = problems, True
    while len(rows):
        w = states.trial if whole else states.trial[rows]
        phi, d = evaluate(w, here)
        small_fits.advance(
            phi, d, inner.y, here, small.pairs, states, rows, rules, ridge=inner.ridge, kaufman=inner.kaufman
        )
        if recording and not first:
            kept.append(tail[rows])
            told.append(here)
            for record in _records(small_fits.named(kept[-1]), here, states) if observe is not None else ():
                observe(record)  # type: ignore[misc]
        first = False
        running = status[rows] == 0
        if not running.all():
            rows, whole = rows[running], False
            here = problems[rows]
    if not kept or not keep_history:
        return []
    return _records(small_fits.named(np.concatenate(kept)), np.concatenate(told), states)


def _evaluator(small: SmallProblem, problems: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Phi and D of problems at w; for one problem whose functions give them as they are, nothing stands between."""
    basis, model = small.basis, small.basis.model
    function, columns = model.function, model.columns_function
    direct = basis.plain and basis.names.plain and basis.weights is None and not basis.complex_w
    if len(problems) > 1 or not direct or columns is None:
        return basis.both
    t = model.t[problems[0]] if model.own_t else model.t
    shape, pairs = model.shape, (model.shape[0], len(model.pairs))

    tried = [model.tried]  # the first call, if the search begins where the model was tried

    def evaluate(w: Array, here: Array) -> tuple[Array, Array]:
        first = tried.pop() if tried else None
        if first is not None and np.array_equal(first[0], w[0]):
            return first[1][None], first[2][None]
        v = w[0].copy()  # the function may keep it
        phi, d = np.asarray(function(t, v), dtype=np.float64), np.asarray(columns(t, v), dtype=np.float64)
        if phi.shape != shape or d.shape != pairs:
            return basis.basis(w, here), basis.jacobian(w, here)  # which says what is wrong
        return phi[None], d[None]

    return evaluate


def _records(numbers: Array, problems: Array, states: States) -> list[IterationRecord]:
    """From what states (n,) hold after a trial of problems (n,), or of one, after each."""
    columns = [numbers[name].tolist() for name in RECORDED]
    names = problems.tolist() if len(problems) == len(numbers) else problems.tolist() * len(numbers)
    return [
        IterationRecord(
            problem=problem,
            iteration=int(iterations) - (1 if accepted and status == 0 else 0),  # the next one has begun already
            cost=cost,
            damping=used,
            gain=gain,
            accepted=bool(accepted),
            rank=states.n_columns,
        )
        for problem, status, cost, used, gain, accepted, iterations in zip(names, *columns, strict=True)
    ]
