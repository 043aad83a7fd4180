"""From a checked specification to a search: which form of the problem serves, and how many at a time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.fitting.basis import FitBasis
from varpro.fitting.data import Data
from varpro.fitting.linear_part import Linear, mixing_of, ridge_rows
from varpro.fitting.model import UserModel
from varpro.fitting.parameters import Parameters
from varpro.linalg.one_pool import one_blas_pool
from varpro.problems.compressed import ManyProblem
from varpro.problems.general import FitProblem, GeneralProblem, fit_problem
from varpro.problems.separate import SeparateProblem
from varpro.problems.small import SmallProblem
from varpro.result import IterationRecord, SearchResult, Status
from varpro.search.bounded_steps import inside
from varpro.search.compiled import search_compiled
from varpro.search.damping import DampingRule
from varpro.search.device import DeviceSearch, require_device_form
from varpro.search.loop import search
from varpro.search.termination import Termination

SMALL_COLUMNS, SMALL_PAIRS, SMALL_RIGHT = 16, 48, 8
"""Above these the matrix products of a problem are large enough for BLAS."""
MANY_RIGHT, MANY_VALUES = 32, 20_000
"""From here on reading Y at every evaluation costs more than keeping the range of the basis."""
CACHED = 1 << 19
"""Numbers of Phi and D that a chunk of problems may hold, about what a second-level cache keeps."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Everything that defines the fit of B problems."""

    data: Data
    model: UserModel
    names: Parameters
    linear: Linear
    complex_data: bool = False
    complex_w: bool = False
    kaufman: bool = False
    rank_tolerance: float | None = None
    termination: Termination
    damping: DampingRule
    threads: int = 1
    device: DeviceSearch | None = None
    """Search on a GPU; None searches on the CPU"""


@dataclass(frozen=True)
class Built:
    """The problem in the form that the search takes, and the way back to the user's amplitudes."""

    problem: FitProblem
    basis: FitBasis
    y: Array
    """(B, N', K) weighted and real"""
    mixing: Array | None
    """(I, I'): a = mixing a'"""


def build(spec: Spec) -> Built:
    """Choose the kind of problem.  Raises ConfigError for options that exclude each other."""
    data, linear = spec.data, spec.linear
    y, weights = _real(data.y, spec.complex_data), data.weights
    if weights is not None and spec.complex_data:
        weights = np.concatenate([weights, weights], axis=1)
    n_columns = spec.model.n_columns * (2 if spec.complex_data else 1)
    mixing = mixing_of(linear, n_columns, split=spec.complex_data)
    pinned = linear.pinned or linear.equality is not None
    separate = pinned or linear.lower is not None or data.separate
    rows = ridge_rows(linear, n_columns, split=spec.complex_data, always=separate)
    if rows is not None and mixing is not None:
        rows = rows @ mixing
    basis = FitBasis(
        model=spec.model,
        names=spec.names,
        weights=None if data.separate else weights,
        complex_data=spec.complex_data,
        complex_w=spec.complex_w,
        mixing=mixing,
        extra_rows=rows,
        excluded=data.excluded if data.separate else None,
    )
    weighted = y if weights is None else y * (weights if data.separate else weights[:, :, None])
    if rows is not None:
        weighted = np.concatenate([weighted, np.zeros((len(y), len(rows), y.shape[2]))], axis=1)
    if separate:
        own = weights if data.separate else None
        if own is not None and rows is not None:
            own = np.concatenate([own, np.ones((len(own), len(rows), own.shape[2]))], axis=1)
        free = basis.n_columns - pinned
        lower = np.full(free, -np.inf) if linear.lower is None else linear.lower
        upper = np.full(free, np.inf) if linear.upper is None else linear.upper
        problem = SeparateProblem(
            basis, weighted, own, pinned, lower, upper, kaufman=spec.kaufman, rank_tolerance=spec.rank_tolerance
        )
        return Built(problem, basis, weighted, mixing)
    ridge = 0.0 if rows is not None else linear.ridge
    k = y.shape[2]
    if k >= MANY_RIGHT and len(y) == 1 and y.size >= MANY_VALUES:
        many = ManyProblem(basis, weighted, ridge, spec.rank_tolerance, spec.kaufman, spec.termination.cost_tolerance)
        return Built(many, basis, weighted, mixing)
    inner = fit_problem(basis, weighted, ridge=ridge, rank_tolerance=spec.rank_tolerance, kaufman=spec.kaufman)
    general = GeneralProblem(basis, inner)
    return Built(SmallProblem.of(general, y) if _is_small(spec, basis, inner) else general, basis, weighted, mixing)


def _is_small(spec: Spec, basis: FitBasis, inner: Any) -> bool:
    """Whether the one-pass kernel serves: few columns of full rank; a tolerance of the user's own needs the singular
    values."""
    n_rows, k = inner.y.shape[1:]
    few = basis.n_columns <= SMALL_COLUMNS and len(basis.columns) <= SMALL_PAIRS and k <= SMALL_RIGHT
    return few and spec.rank_tolerance is None and (n_rows >= basis.n_columns or inner.ridge > 0)


def _real(y: Array, split: bool) -> Array:
    return np.concatenate([y.real, y.imag], axis=1) if split else y


@dataclass(frozen=True)
class Outcome:
    """What the search found for B problems; NaN where a problem was not fitted."""

    u: Array
    """(B, F) free parameters"""
    a: Array
    """(B, I', K) amplitudes of the real, mixed columns"""
    cost: Array
    """(B,)"""
    status: Array
    iterations: Array
    evaluations: Array
    rank: Array
    history: list[IterationRecord]


def run(
    spec: Spec,
    u0: Array,
    *,
    observe: Callable[[IterationRecord], None] | None = None,
    keep_history: bool = False,
    advance: Callable[[int], None] | None = None,
) -> tuple[Outcome, Built]:
    """Search every problem that may be fitted, from u0 (B, F); the others keep their status.

    observe : called with every trial.  advance : called with the number of problems of each chunk that is done.
    """
    built = build(spec)
    if spec.device is not None:
        require_device_form(built, spec)
    names, problem, compiled = spec.names, built.problem, built.problem.compiled
    linearise = _in_bounds(names) if names.bounded else _linearise
    box = (names.lower, names.upper) if names.bounded else None
    ready = np.flatnonzero(spec.data.status == Status.RUNNING.value)
    most = _chunk(spec, built)
    chunks = [ready] if 0 < len(ready) <= most else np.array_split(ready, -(-len(ready) // most)) if len(ready) else []
    out = _empty(spec, built)

    def search_chunk(problems: Array) -> None:
        left = problems
        if spec.device is not None:
            left = spec.device.search(compiled, spec, u0[problems], problems, out)
        if compiled is not None and len(left):
            left, records = search_compiled(compiled, spec, u0[left], left, out, observe, keep_history)
            out.history.extend(records)
        if len(left):
            search_rest(left)
        if advance is not None:
            advance(len(problems))

    def search_rest(problems: Array) -> None:
        with one_blas_pool():
            found = search(
                problem,
                u0[problems],
                linearise,
                damping=spec.damping,
                termination=spec.termination,
                observe=observe,
                keep_history=keep_history,
                problems=problems,
                box=box,
            )
        _store(out, problems, found)

    # a device works through its chunks in one stream: a second thread would only ask for the memory of a second chunk
    if spec.device is None and spec.threads > 1 and len(chunks) > 1:
        with ThreadPoolExecutor(spec.threads) as pool:
            list(pool.map(search_chunk, chunks))
    else:
        for chunk in chunks:
            search_chunk(chunk)
    return out, built


def _empty(spec: Spec, built: Built) -> Outcome:
    count, _, k = spec.data.y.shape
    return Outcome(
        u=np.full((count, spec.names.n_free), np.nan),
        a=np.full((count, built.basis.n_columns, k), np.nan),
        cost=np.full(count, np.nan),
        status=spec.data.status.copy(),
        iterations=np.zeros(count, dtype=int),
        evaluations=np.zeros(count, dtype=int),
        rank=np.zeros(count, dtype=int),
        history=[],
    )


def _store(out: Outcome, problems: Array, found: SearchResult) -> None:
    out.u[problems], out.cost[problems], out.status[problems] = found.w, found.cost, found.status
    out.iterations[problems], out.evaluations[problems] = found.iterations, found.evaluations
    out.rank[problems] = found.evaluation.rank
    if found.evaluation.a.shape[2] == out.a.shape[2]:
        out.a[problems] = found.evaluation.a
    out.history.extend(found.history)


def _linearise(problem: FitProblem, current: Any) -> Any:
    return problem.linearise(current)


def _in_bounds(names: Parameters) -> Callable[[FitProblem, Any], Any]:
    return lambda problem, current: inside(problem.linearise(current), current.w, names.lower, names.upper)


def _chunk(spec: Spec, built: Built) -> int:
    if spec.device is not None:
        return spec.device.chunk(built.problem.compiled, spec.names.n_free)
    return max(1, CACHED // built.problem.numbers)
