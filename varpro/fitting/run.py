"""From a specification to its solution: chunks of problems, searched by compiled code, on a device or by the loop."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from varpro.arrays import Array
from varpro.fitting.form import device_form
from varpro.fitting.second_look import second_look
from varpro.fitting.solution import Solution
from varpro.fitting.spec import Spec
from varpro.linalg.one_pool import one_blas_pool
from varpro.result import IterationRecord, SearchResult, Status, Trials
from varpro.search.bounded_steps import InBox
from varpro.search.compiled import search_compiled
from varpro.search.loop import Observer, search
from varpro.search.termination import rules_of

CACHED = 1 << 20
"""Most numbers of Phi and D in a chunk of problems: a third-level cache holds it beside what a user's function makes,
and the interpreter's share of a call is small.  From 2^19 to 2^21 the time differs by 3 %."""
DOUBTFUL = 1e-5
"""Largest effect of a parameter, see gauss_newton.least_effect, at which it is checked for having any: a parameter
without effect shows one of 1e-7 in H, the root of its rounding.  Also the share of the terms in their sum.  A parameter
that is nearly 0, such as a shift, is checked without need, which costs little."""


class Ended(Protocol):
    """What is needed of the evaluation that a search ended with."""

    @property
    def problems(self) -> Array:
        """The numbers of the problems, (b,)."""

    @property
    def a(self) -> Array:
        """The amplitudes, (b, I', K), or an array of another shape if the search does without them."""

    @property
    def rank(self) -> Array:
        """The rank of the basis, (b,)."""


Part = SearchResult[Ended]
"""What was found for some of the problems."""


def run(
    spec: Spec,
    u0: Array,
    *,
    observe: Observer | None = None,
    keep_history: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Solution:
    """Search every problem that may be fitted, from u0 (B, F); the others keep their status.

    observe : called with every trial.  advance : called with the number of problems in each finished chunk.
    """
    if spec.device is not None:
        device_form(spec)
    observe = _in_users_weights(observe, spec.data.weight_unit)

    def search_chunk(problems: Array) -> list[Part]:
        found = _search(spec, u0, problems, observe, keep_history)
        if advance is not None:
            advance(len(problems))
        return found

    chunks = _chunks(spec)
    # a device works through its chunks in one stream; a second thread would only need memory for a second chunk
    if spec.device is None and spec.threads > 1 and len(chunks) > 1:
        spec.problem.numbers  # noqa: B018  made once, before the threads ask for it
        with ThreadPoolExecutor(spec.threads) as pool:
            parts = [part for found in pool.map(search_chunk, chunks) for part in found]
    else:
        parts = [part for chunk in chunks for part in search_chunk(chunk)]
    searched = _looked_at_again(spec, u0, parts, observe, keep_history)
    return Solution.of(spec, searched, _histories(parts, spec.data.weight_unit))


def _looked_at_again(
    spec: Spec, u0: Array, parts: list[Part], observe: Observer | None, keep_history: bool
) -> dict[str, Array]:
    """The arrays of all problems, by the names in solution.SEARCHED.  A search that a second look finds above a minimum
    goes on from a lower point, once; what that gives is added to `parts`."""
    searched = _gathered(spec, parts)
    doubtful = _doubtful(parts)
    if not len(doubtful):
        return searched
    status, above, lower = second_look(spec, searched, doubtful)
    searched["status"] = status
    if not len(above):
        return searched
    before = {name: searched[name][above] for name in ("iterations", "evaluations")}
    start = u0.copy()
    start[above] = lower
    parts += _search(spec, start, above, observe, keep_history)
    searched = _gathered(spec, parts)
    for name, count in before.items():
        searched[name][above] += count
    rest = np.setdiff1d(doubtful, above)
    searched["status"][rest] = status[rest]  # what the first look has said of them
    searched["status"], above, _ = second_look(spec, searched, above)
    searched["status"][above] = Status.STALLED.value
    return searched


def _doubtful(parts: list[Part]) -> Array:
    """The numbers of the problems where a parameter shows next to no effect."""
    found = [part.evaluation.problems[part.effect <= DOUBTFUL] for part in parts]
    return np.unique(np.concatenate([np.empty(0, dtype=int), *found]))


def _chunks(spec: Spec) -> list[Array]:
    """The numbers of the problems that may be fitted, in chunks that fit the caches or the device."""
    ready = np.flatnonzero(spec.data.status == Status.RUNNING.value)
    if spec.device is not None:
        most = spec.device.chunk(device_form(spec), spec.names.n_free)
    else:
        most = max(1, CACHED // spec.problem.numbers)
    if len(ready) <= most:
        return [ready] if len(ready) else []
    return np.array_split(ready, -(-len(ready) // most))


def _search(spec: Spec, u0: Array, problems: Array, observe: Observer | None, keep_history: bool) -> list[Part]:
    """The results for problems (b,): from a device, from compiled code for what that leaves, then from the loop."""
    compiled, left = spec.problem.compiled, problems
    found: list[Part] = []
    if spec.device is not None and compiled is not None:
        by_device, left = spec.device.search(compiled, u0[left], left, spec.damping, spec.termination)
        found.append(by_device)
    if compiled is not None and len(left):
        rules = rules_of(spec.damping, spec.termination)
        by_kernel, left = search_compiled(compiled, u0[left], left, rules, observe, keep_history)
        found.append(by_kernel)
    if len(left):
        found.append(_search_by_loop(spec, u0[left], left, observe, keep_history))
    return found


@one_blas_pool()
def _search_by_loop(spec: Spec, u0: Array, problems: Array, observe: Observer | None, keep_history: bool) -> Part:
    problem, box = spec.problem, spec.basis.box
    with np.errstate(all="ignore"):  # the status says which problems are not finite
        return search(
            problem if box is None else InBox(problem, *box),
            u0,
            damping=spec.damping,
            termination=spec.termination,
            observe=observe,
            keep_history=keep_history,
            problems=problems,
            box=box,
        )


def _gathered(spec: Spec, parts: list[Part]) -> dict[str, Array]:
    """The parts as arrays of all problems, by the names in solution.SEARCHED."""
    data, wide = spec.data, (spec.basis.n_columns, spec.data.y.shape[2])
    count = len(data.y)
    if len(parts) == 1 and len(parts[0].evaluation.problems) == count:
        u, arrays = parts[0].w, _arrays(parts[0])
    else:
        u = np.full((count, spec.names.n_free), np.nan)
        zero = {name: np.zeros(count, dtype=int) for name in ("iterations", "evaluations", "rank")}
        arrays = {"objective": np.full(count, np.nan), "status": data.status.copy(), **zero}
        arrays["amplitudes"] = np.full((count, *wide), np.nan)
        for part in parts:
            here = part.evaluation.problems
            u[here] = part.w
            for name, values in _arrays(part).items():
                if values.ndim < 3 or values.shape[1:] == wide:
                    arrays[name][here] = values
    found = arrays["amplitudes"] if arrays["amplitudes"].shape[1:] == wide else None
    return {**arrays, "u": u, "amplitudes": spec.problem.amplitudes(found, u)}


def _arrays(part: Part) -> dict[str, Array]:
    """The arrays of one part."""
    return {
        "objective": part.cost,
        "status": part.status,
        "iterations": part.iterations,
        "evaluations": part.evaluations,
        "rank": part.evaluation.rank,
        "amplitudes": part.evaluation.a,
    }


def _histories(parts: list[Part], unit: float) -> Sequence[IterationRecord]:
    """The records of all parts, their costs in the user's weights."""
    histories = [part.history for part in parts]  # not the parts, which the records would keep in memory
    return Trials(lambda: [_scaled(record, unit) for history in histories for record in history])


def _scaled(record: IterationRecord, unit: float) -> IterationRecord:
    return record._replace(cost=record.cost * unit * unit)


def _in_users_weights(observe: Observer | None, unit: float) -> Observer | None:
    """The same observer, with costs in the user's weights."""
    if observe is None or unit == 1.0:
        return observe
    tell = observe
    return lambda record: tell(_scaled(record, unit))
