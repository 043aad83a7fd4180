"""The line that a profile follows: the least sum of squares with one parameter held at given values."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.linear_part import Linear
from varpro.fitting.multistart import reach_of
from varpro.fitting.refits import holding
from varpro.fitting.run import run
from varpro.fitting.spec import Spec

if TYPE_CHECKING:
    from varpro.fitting.result import FitResult

Squares = Callable[[Array], Array]
"""(m,) values of a parameter -> (m,) sums of squares"""


@dataclass
class Line:
    """One parameter v: its estimate, a first step, its limits, and the sums of squares at other values."""

    estimate: float
    step: float
    lower: float
    upper: float
    squares: Squares
    undetermined: bool = False


def of_parameter(fit: "FitResult", name: str) -> Line:
    """The line of a nonlinear parameter, which a free one u moves: v = factor u + offset."""
    if name not in fit.names:
        raise ConfigError(f"no parameter is called {name!r}; there are {', '.join((*fit.names, *fit.linear_names))}")
    spec, p = fit._solution.spec, fit.names.index(name)
    names, u0 = spec.names, fit._solution.u[0]
    f = int(names.source[p])
    if f < 0:
        raise ConfigError(f"{name} was not fitted by itself: it is fixed, or follows an expression; it has no profile")
    factor, offset = float(names.factor[p]), float(names.offset[0, p])
    error = float(np.sqrt(fit._statistics.variance[0] * fit._statistics.uncertainty.nonlinear[0, f, f]))
    lost = bool(fit._statistics.uncertainty.infinite[0, f])
    if not (np.isfinite(error) and error > 0):
        error = 0.1 * float(reach_of(spec, u0)[f]) or 0.1 * abs(u0[f]) or 1.0
    refit = _Refits(spec, f, _Known(float(u0[f]), u0))
    ends = sorted(factor * np.array([names.lower[f], names.upper[f]]) + offset)
    return Line(
        factor * u0[f] + offset, abs(factor) * error, ends[0], ends[1],
        lambda v: refit((v - offset) / factor), lost,
    )  # fmt: skip


class _Known:
    """Solutions u by the value that was held; each refit starts from the nearest of them."""

    def __init__(self, value: float, u: Array) -> None:
        self.found = [(value, u)]

    def nearest(self, value: float) -> Array:
        """u of the nearest value."""
        return min(self.found, key=lambda one: abs(one[0] - value))[1]

    def add(self, value: float, u: Array) -> None:
        """Another solution."""
        self.found.append((value, u))


@dataclass
class _Refits:
    """Fits with the free parameter f held."""

    spec: Spec
    f: int
    known: _Known

    def __call__(self, values: Array) -> Array:
        spec, f = self.spec, self.f
        start = np.stack([self.known.nearest(v) for v in values])
        start[:, f] = values
        if spec.names.n_free == 1:
            zeros = np.zeros(len(values), dtype=int)
            with np.errstate(all="ignore"):
                return 2.0 * np.asarray(spec.problem.evaluate(start, zeros).cost)
        many = replace(spec.repeated(len(values)), names=holding(spec.names, f, values))
        found = run(many, np.delete(start, f, axis=1))
        for v, u, good in zip(values, found.u, np.isfinite(found.objective), strict=True):
            if good:
                self.known.add(float(v), np.insert(u, f, v))
        return 2.0 * found.objective


def of_amplitude(fit: "FitResult", name: str) -> Line:
    """The line of an amplitude, held by one more equation C a = d."""
    spec, i = fit._solution.spec, fit.linear_names.index(name)
    if spec.data.y.shape[2] != 1 or spec.complex_data or spec.linear.lower is not None:
        raise ConfigError(
            f"{name} has no profile: amplitudes have one for a single real right-hand side, without bounds on them"
        )
    if spec.n_amplitudes == 1:
        raise ConfigError(f"{name} is the only amplitude; profile a nonlinear parameter, or bootstrap")
    u0, value, error = fit._solution.u, float(np.ravel(fit.linear)[i]), float(np.ravel(fit.stderr_linear)[i])
    row: Array = np.eye(spec.n_amplitudes)[i : i + 1]
    c, d = spec.linear.equality or (row[:0], np.zeros(0))
    known = _Known(value, u0)

    def squares(values: Array) -> Array:
        out = []
        for v in values:
            linear: Linear = replace(spec.linear, equality=(np.vstack([c, row]), np.append(d, v)))
            held, near = replace(spec, linear=linear), known.nearest(v)
            found = run(held, near)
            if not np.isfinite(found.objective[0]) and near is not u0:
                found = run(held, u0)
            out.append(2.0 * float(found.objective[0]))
            if np.isfinite(out[-1]):
                known.add(float(v), found.u)
        return np.array(out)

    finite = np.isfinite(error) and error > 0
    return Line(value, error if finite else abs(value), -np.inf, np.inf, squares, bool(np.isinf(error)))
