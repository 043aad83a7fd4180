"""Pruning: units are dropped one after another, always the one without which the gluing loses least.

    F(S) = min_A 1/2 ||Y - Phi_S A||^2 + mu/2 ||A||^2          over the columns S
    F(S \\ U) - F(S) = 1/2 tr A_U^T (H_UU)^-1 A_U,             H = (Phi_S^T Phi_S + mu I)^-1,  A the layer on S

This is exact, and so are H and A without the columns U:

    H - H_:U (H_UU)^-1 H_U:,      A - H_:U (H_UU)^-1 A_U

Efroymson's backward elimination, by blocks of columns.  Where many units are left, several are dropped at a time.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from varpro.arrays import Array, namespace, to_host
from varpro.errors import ConfigError
from varpro.report.record import JsonObject
from varpro.train.checkpoint import State
from varpro.train.scalarized.cycle import Cycle
from varpro.train.scalarized.glue import RELATIVE_RIDGES, SINGLE_RIDGES, Rows, Streamed, count_correct
from varpro.train.scalarized.run import Run

ONE_AT_A_TIME = 400
"""The units up to which one is dropped at a time; of more, the 200th part."""
POINTS = 60
"""The most points of the curve of accuracy."""
ROUNDING = 1e-12
"""Of shares, which differ by one image or not at all."""


@dataclass(frozen=True, eq=False)
class Left:
    """What is left after a step."""

    units: Array
    """The numbers of the units left, rising."""
    increase: float
    """F of these units less F of all."""
    layer: Array
    """The layer (J + 1, K), zero for the columns that are gone."""


def dropped_backward(gram: Array, cross: Array, ridge: float, count: int, *, least: int = 1) -> Iterator[Left]:
    """All units, then fewer and fewer, down to `least`.

    gram : Phi^T Phi (J + 1, J + 1), its lower triangle; cross : Phi^T Y (J + 1, K).  The constant comes last and stays.
    Raises numpy's LinAlgError if Phi^T Phi + mu I is not positive definite.
    """
    c = (len(gram) - 1) // count
    whole = np.tril(gram) + np.tril(gram, -1).T + ridge * np.eye(len(gram))
    h = scipy.linalg.inv(whole, check_finite=False)
    a, left, increase = scipy.linalg.solve(whole, cross, assume_a="pos"), np.arange(count), 0.0
    live = np.arange(len(gram))
    yield Left(left, increase, a)
    while len(left) > least:
        blocks = np.arange(len(left) * c).reshape(-1, c)
        own, weights = h[blocks[:, :, None], blocks[:, None, :]], a[blocks]
        losses = 0.5 * np.sum(weights * np.linalg.solve(own, weights), axis=(1, 2))
        several = 1 if len(left) <= ONE_AT_A_TIME else len(left) // 200
        gone = np.argsort(losses, kind="stable")[: min(several, len(left) - least)]
        columns = blocks[gone].ravel()
        rest = np.delete(np.arange(len(h)), columns)
        across = np.concatenate([h[np.ix_(columns, rest)], a[columns]], axis=1)
        lost = np.linalg.solve(h[np.ix_(columns, columns)], across)
        of_gone = h[np.ix_(rest, columns)]
        increase += 0.5 * float(np.sum(a[columns] * lost[:, len(rest) :]))
        h = h[np.ix_(rest, rest)] - of_gone @ lost[:, : len(rest)]
        a = a[rest] - of_gone @ lost[:, len(rest) :]
        left, live = np.delete(left, gone), live[rest]
        layer = np.zeros_like(cross)
        layer[live] = a
        yield Left(left, increase, layer)


def require_validation_to_prune(run: Run, validation: Rows) -> None:
    """Raise ConfigError if nothing says how many units may go."""
    if run.config.prune.units is None and not len(validation):
        raise ConfigError(
            "prune is on, but there are no validation images, whose accuracy says how many units may go; set "
            "data.validation, or prune.units"
        )


def prune(run: Run, cycle: Cycle, rows: Rows, validation: Rows, ridge: float | None) -> JsonObject:
    """Drop units of a trained network and glue the others again; what metrics.json says about it.  Collective.

    ridge : of the linear layer; None = chosen on the validation rows.
    """
    clock, before = time.perf_counter(), cycle.network
    run.display.phase("pruning", 1)
    run.checkpoint.begin_phase()
    found = run.checkpoint.load("prune")
    if found is None:
        found = _pruned(run, cycle, rows, validation)
        run.checkpoint.save("prune", found)
    kept = found.arrays["units"]
    if len(kept) < before.units.count:
        units, w = before.units.taken(before.w, kept)
        with run.all_threads():
            cycle.glued = run.glued(units, w, rows, validation, ridge, "prune-glue")
        cycle.network = run.network(units, w, cycle.glued.a)
    run.display.advance()
    counts = {"units": len(kept), "units_before": before.units.count}
    return counts | {"curve": found.values["curve"], "seconds": time.perf_counter() - clock}


def _pruned(run: Run, cycle: Cycle, rows: Rows, validation: Rows) -> State:
    """The units to keep, and the curve."""
    settings, network = run.config.prune, cycle.network
    with run.all_threads():
        steps = _steps(run, cycle, rows)
        accuracies = _accuracies(run, run.streamed(network.units, network.w, validation), steps)
    kept = _chosen(steps, accuracies, settings.units, settings.loss)
    sizes = network.units.per_unit(np.ones(len(network.w)))
    c, k = network.units.columns_per_unit, network.a.shape[1]
    curve = [
        {
            "units": len(step.units),
            "parameters": round(float(sizes[step.units].sum())) + (len(step.units) * c + 1) * k,
            "increase": step.increase / len(rows),
            "validation_accuracy": accuracies[number] if accuracies else None,
        }
        for number, step in enumerate(steps)
    ]
    return State({"curve": curve}, {"units": kept.units.astype(np.int64)})


def _steps(run: Run, cycle: Cycle, rows: Rows) -> list[Left]:
    """The steps that the curve shows and that may be chosen; computed on rank 0, so that every rank has the same."""
    network, settings = cycle.network, run.config.prune
    streamed = run.streamed(network.units, network.w, rows)
    gram, cross = streamed.normal_equations()
    found: list[Left] = []
    if run.comm.rank == 0:
        count = network.units.count
        least = 1 if settings.units is None else min(settings.units, count)
        shown = {round(n) for n in np.linspace(least, count, min(POINTS, count - least + 1))}
        ridge = _ridge(streamed, gram, cycle.glued.ridge)
        for step in dropped_backward(to_host(gram), cross, ridge, count, least=least):
            # several units may go at a time, past the number to be shown
            if shown and len(step.units) <= max(shown):
                shown = {n for n in shown if n < len(step.units)}
                found.append(step)
    return run.comm.bcast(found)


def _ridge(streamed: Streamed, gram: Array, glued: float) -> float:
    """The ridge of the layer, or one above the rounding of the Gram matrix, which not all gluing needs."""
    scale = float(namespace(gram).diagonal(gram).sum()) / len(gram)
    return max(glued, (SINGLE_RIDGES if streamed.single else RELATIVE_RIDGES)[1] * scale)


def _accuracies(run: Run, validation: Streamed, steps: list[Left]) -> list[float]:
    """The share of validation rows that the layer of each step gets right; empty without such rows."""
    if not len(validation.rows):
        return []
    correct = count_correct(validation, [step.layer for step in steps])
    return [float(n) / len(validation.rows) for n in correct]


def _chosen(steps: list[Left], accuracies: list[float], units: int | None, loss: float) -> Left:
    """The fewest units that are wanted, or that lose at most `loss` points of accuracy."""
    if units is not None:
        return steps[-1]
    least = accuracies[0] - loss / 100 - ROUNDING
    allowed = [step for step, accuracy in zip(steps, accuracies, strict=True) if accuracy >= least]
    return min(allowed, key=lambda step: len(step.units))
