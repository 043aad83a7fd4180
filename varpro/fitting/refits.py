"""Refits of a problem that has been fitted: with a parameter held, or with other values or weights."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.arguments import with_threads
from varpro.fitting.model import wide
from varpro.fitting.parameters import Parameters
from varpro.fitting.spec import Spec
from varpro.fitting.together import takes_many

if TYPE_CHECKING:
    from varpro.fitting.result import FitResult


def require_minimum(fit: "FitResult", what: str) -> None:
    """Raise ConfigError if there is no minimum to start from, or if the result has lost its model."""
    if not fit.success:
        raise ConfigError(f"{what} needs a fit that converged; this one ended with {fit.status.label}: {fit.message}")
    fit._model()


def many_of(spec: Spec, u: Array, count: int) -> Spec:
    """The one problem repeated `count` times, on all cores, its function called for many at once if it allows that."""
    model, size = spec.model, np.abs(u) + (u == 0)
    if model.program is None and model.numeric is None and count > 1 and model.t.ndim == 1:
        w = spec.basis.w(u + 1e-3 * size * np.linspace(-1.0, 1.0, 3)[:, None], np.zeros(3, dtype=int))
        trial = replace(model, tried=None)
        together = takes_many(trial, w, len(model.pairs))
        spec = replace(spec, model=replace(model, together=together, copies=trial.copies, tried=None))
    return with_threads(spec.repeated(count), None)


def holding(names: Parameters, f: int, values: Array) -> Parameters:
    """The map of B problems whose free parameter f is held at values (B,)."""
    follows = names.source == f
    offset = np.repeat(names.offset[:1], len(values), axis=0)
    offset[:, follows] += values[:, None] * names.factor[follows]
    return replace(
        names,
        source=np.where(follows, -1, np.where(names.source > f, names.source - 1, names.source)),
        factor=np.where(follows, 0.0, names.factor),
        offset=offset,
        lower=np.delete(names.lower, f),
        upper=np.delete(names.upper, f),
        free=np.delete(names.free, f),
    )


def columns_and_rows(spec: Spec, u: Array) -> tuple[Array, Array]:
    """Weighted Phi (m, N', I') of the one problem at m points u (m, F), and its weighted y (N', K)."""
    zeros = np.zeros(len(u), dtype=int)
    return wide(spec.basis.basis(u, zeros)), spec.y[0]
