"""A fit from the caller's arrays to the result: check, specify, search, reweight, wrap up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError
from varpro.fitting.arguments import (
    amplitude_names,
    check_backend,
    choose_search,
    flag_short,
    require_fittable,
    starting_values,
    with_threads,
)
from varpro.fitting.batch import BatchResult
from varpro.fitting.cross_validation import cross_validated
from varpro.fitting.data import make_data
from varpro.fitting.losses_of_residuals import residual_loss
from varpro.fitting.model import Function
from varpro.fitting.multistart import best_start, several_starts
from varpro.fitting.options import BatchOptions, FitOptions
from varpro.fitting.result import FitResult
from varpro.fitting.robust import robust_solution
from varpro.fitting.run import CACHED, run
from varpro.fitting.smoothness import is_smooth, smoothed, with_smoothness
from varpro.fitting.solution import Solution
from varpro.fitting.spec import Spec
from varpro.fitting.specify import specify
from varpro.report.bar import progress_bar
from varpro.search.loop import Observer

Result = TypeVar("Result", bound=FitResult)
Groups = Sequence[Sequence[Array]]
"""Starts (P,) in groups, of each of which one is searched from."""


def fit_one(model: Function, t: ArrayLike, y: ArrayLike, w0: ArrayLike | None, options: FitOptions) -> FitResult:
    """One fit; see `varpro.fit`."""
    return fit_as(FitResult, model, t, y, w0, options)


def fit_as(
    kind: type[Result],
    model: Function,
    t: ArrayLike,
    y: ArrayLike,
    w0: ArrayLike | None,
    options: FitOptions,
    guesses: Groups = (),
) -> Result:
    """One fit, as a result of some kind.

    guesses : for w0 None, groups of starts (P,); the best of each group is searched from, and the best solution counts.
    """
    clock = time.perf_counter()
    check_backend(options.backend)
    if options.multistart < 0:
        raise ConfigError(f"multistart is {options.multistart}; it is the number of further starts, 0 or more")
    data = make_data(t, y, batch=False, weights=options.weights, mask=options.mask, dtype=options.dtype)
    start = np.array([w for group in guesses for w in group]) if guesses else starting_values(model, data, w0)
    spec, u0 = specify(options, model, data, start, batch=False, guessed=w0 is None)
    if is_smooth(options.ridge):
        spec = with_smoothness(spec, options.ridge, getattr(model, "amplitude_groups", None))
    require_fittable(spec)
    found = [
        _searched(*_from_start(spec, u0, s), options) for s in (most_promising(spec, u0, guesses) if guesses else [0])
    ]
    return kind(
        min(found, key=_finite_cost),
        amplitude_names(model, options.linear_names, spec.n_amplitudes),
        absolute_sigma=options.absolute_sigma,
        flat=data.flat,
        seconds=time.perf_counter() - clock,
        n_starts=1 + options.multistart,
    )


def _searched(spec: Spec, u0: Array, options: FitOptions) -> Solution:
    """The solution from one start, u0 (1, F)."""
    if options.multistart:
        starts = several_starts(spec, u0[0], options.multistart, np.random.default_rng(options.seed))
        with progress_bar(options.progress, len(starts), "starts") as advance:
            u0 = best_start(spec, starts, advance)[None]
    if is_smooth(options.ridge) and isinstance(options.ridge[1], str):
        spec, u0 = smoothed(spec, u0, options.ridge[1], options.callback)
    if isinstance(options.ridge, str):
        spec, u0 = cross_validated(spec, u0, options.callback)
    return solve(
        spec, u0, loss=options.loss, loss_scale=options.loss_scale, observe=options.callback, keep_history=True
    )


def most_promising(spec: Spec, u0: Array, guesses: Groups) -> list[int]:
    """The numbers of the starts u0 (S, F) with the least cost of each group, without those that are there already."""
    flat, cost, chosen, first = [w for group in guesses for w in group], _costs(spec, u0), dict[bytes, int](), 0
    for group in guesses:
        best = first + int(np.argmin(cost[first : first + len(group)]))
        chosen.setdefault(flat[best].tobytes(), best)
        first += len(group)
    return list(chosen.values())


def _costs(spec: Spec, u0: Array) -> Array:
    """(S,) the cost at starts (S, F), which may hold parameters of their own fixed."""
    if len(spec.names.offset) > 1:
        return np.concatenate([_costs(*_from_start(spec, u0, s)) for s in range(len(u0))])
    each = max(1, CACHED // spec.problem.numbers)
    some = [u0[first : first + each] for first in range(0, len(u0), each)]
    with np.errstate(all="ignore"):  # a guess may lie outside the model's domain
        return np.concatenate([spec.problem.evaluate(u, np.zeros(len(u), dtype=int)).cost for u in some])


def _from_start(spec: Spec, u0: Array, s: int) -> tuple[Spec, Array]:
    """The specification with what the s-th start holds fixed, and its free parameters (1, F)."""
    names = spec.names
    own = spec if len(names.offset) == 1 else replace(spec, names=names.of(np.array([s])))
    return own, u0[s : s + 1]


def _finite_cost(found: Solution) -> float:
    cost = float(found.cost[0])
    return cost if np.isfinite(cost) else np.inf


def fit_many(model: Function, t: ArrayLike, y: ArrayLike, w0: ArrayLike | None, options: BatchOptions) -> BatchResult:
    """Many fits of one shape; see `varpro.fit_batch`."""
    clock = time.perf_counter()
    device = choose_search(options.backend, options.dtype, options.polish)
    if is_smooth(options.ridge):
        raise ConfigError("a smooth ridge is for one problem; fit the problems one by one, or give its matrix")
    if isinstance(options.ridge, str):
        raise ConfigError("ridge='gcv' chooses one ridge for one problem; fit the problems one by one with varpro.fit")
    data = make_data(t, y, batch=True, weights=options.weights, mask=options.mask, dtype=options.dtype)
    start = starting_values(model, data, w0)
    spec, u0 = specify(options, model, data, start, batch=True, guessed=w0 is None)
    spec = replace(with_threads(flag_short(spec), options.threads), device=device)
    with progress_bar(options.progress, len(u0), "fits") as advance:
        found = solve(
            spec, u0, loss=options.loss, loss_scale=options.loss_scale, observe=options.callback, advance=advance
        )
    return BatchResult(
        found,
        amplitude_names(model, options.linear_names, spec.n_amplitudes),
        absolute_sigma=options.absolute_sigma,
        seconds=time.perf_counter() - clock,
    )


def solve(
    spec: Spec,
    u0: Array,
    *,
    loss: str = "linear",
    loss_scale: float | None = None,
    observe: Observer | None = None,
    keep_history: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Solution:
    """Search, with reweighting if the loss is robust.  u0 (B, F).  Raises ConfigError."""
    kind = residual_loss(loss)
    if loss_scale is not None and not loss_scale > 0:
        raise ConfigError(f"loss_scale is {loss_scale}; it needs a number above 0, in units of the weighted residual")
    found = run(spec, u0, observe=observe, keep_history=keep_history, advance=advance)
    if loss == "linear":
        return found
    return robust_solution(found, u0, kind, loss_scale, observe, keep_history)
