"""Smooth amplitudes: mu ||L A||^2 with L their second differences, and mu chosen from the data.

    gcv      n S / (n - p)^2                 Golub, Heath and Wahba, Technometrics 21 (1979) 215-223
    aic      n log(S / n) + 2 p              Akaike, IEEE Trans. Automatic Control 19 (1974) 716-723
    lcurve   the corner of (log S, log ||L A||^2), where its curvature is largest
                                             Hansen and O'Leary, SIAM J. Sci. Comput. 14 (1993) 1487-1503

S is the residual sum of squares, p = tr Phi (Phi^T Phi + mu L^T L)^-1 Phi^T over the columns inside their bounds.
Beyond both ends the amplitudes count as 0, so that L is square and regular.  The ridge is fixed while w is searched,
and both take turns until they have settled, so that each search minimises one function.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, TypeGuard, get_args

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.cross_validation import in_turns
from varpro.fitting.options import Smooth
from varpro.fitting.spec import Spec
from varpro.problems.bounded_amplitudes import bounded_solutions
from varpro.search.loop import Observer

Criterion = Literal["gcv", "aic", "lcurve"]
TURNS, SETTLED = 12, 1e-2
"""Most turns of ridge and parameters, and the relative change of mu at which they have settled."""
GRID = np.linspace(-28.0, 6.0, 35)
"""log(mu / s^2), s the largest singular value of Phi L^-1."""
FINE = 20
"""Points at which the curvature of an L-curve is looked at, for each step of the grid."""
STILL = 1e-2
"""Speed along an L-curve, per unit of log mu, below which mu changes nothing and a curvature would be rounding."""
EPS = float(np.finfo(float).eps)


def is_smooth(ridge: object) -> TypeGuard[Smooth]:
    """Whether an option is a pair (operator, criterion) instead of a number or a matrix."""
    return isinstance(ridge, tuple) and len(ridge) == 2 and isinstance(ridge[0], str)


def with_smoothness(spec: Spec, ridge: Smooth, groups: Sequence[Array] | None = None) -> Spec:
    """The specification with rows L below Phi, at mu = 1 or the number given.  Raises ConfigError.

    groups : the amplitudes along each of which L takes second differences, (I_g,), such as those of the sets of a joint
        fit; None: all are one.
    """
    kind, how = ridge
    if kind != "second-difference":
        raise ConfigError(f"ridge is {ridge!r}; its first part can be 'second-difference'")
    if how not in get_args(Criterion) and not isinstance(how, Real):
        raise ConfigError(f"ridge is {ridge!r}; its second part is 'gcv', 'aic', 'lcurve' or a number above 0")
    mu = 1.0 if isinstance(how, str) else float(how)
    if not mu > 0:
        raise ConfigError(f"ridge is {ridge!r}; its number needs to be above 0")
    own = [np.arange(spec.n_amplitudes)] if groups is None else groups
    fewest = min(map(len, own))
    if fewest < 3:
        raise ConfigError(f"second differences need 3 amplitudes or more; the model has {fewest}")
    if spec.complex_data or spec.data.separate or spec.linear.pinned or spec.linear.equality is not None:
        raise ConfigError("a smooth ridge needs real data with common weights, without a fixed term or equations")
    operator = np.zeros((spec.n_amplitudes, spec.n_amplitudes))
    for group in own:
        operator[np.ix_(group, group)] = second_differences(len(group))
    return _at(spec, mu / spec.data.weight_unit**2, operator)


def second_differences(count: int) -> Array:
    """L (I, I), the amplitudes beyond both ends being 0."""
    return np.diag(np.full(count, -2.0)) + np.diag(np.ones(count - 1), 1) + np.diag(np.ones(count - 1), -1)


def _at(spec: Spec, mu: float, operator: Array) -> Spec:
    return replace(spec, linear=replace(spec.linear, ridge_matrix=np.sqrt(mu) * operator, smoothness=mu))


def _operator_of(spec: Spec) -> Array:
    """L (I, I) of a specification that has one."""
    assert spec.linear.ridge_matrix is not None
    return spec.linear.ridge_matrix / np.sqrt(spec.linear.smoothness)


def smoothed(spec: Spec, u0: Array, criterion: Criterion, observe: Observer | None) -> tuple[Spec, Array]:
    """The specification with mu by a criterion, and the parameters found with it, in turns until both have settled."""

    def smoother(spec: Spec, u: Array) -> tuple[Spec, float]:
        mu = chosen(spec, u, criterion)
        return _at(spec, mu, _operator_of(spec)), mu

    return in_turns(spec, u0, observe, smoother, turns=TURNS, settled=SETTLED)


def chosen(spec: Spec, u: Array, criterion: Criterion) -> float:
    """mu at u (1, F) by a criterion, in units of the spec's weights."""
    phi = spec.basis.basis(u, np.zeros(1, dtype=int))[0][: spec.data.y.shape[1]]
    y = spec.y[0][: len(phi)]
    used = np.ones(len(phi), dtype=bool) if spec.data.weights is None else spec.data.total_weight()[0].any(axis=1)
    if not np.isfinite(phi).all() or not phi.any():
        return spec.linear.smoothness
    choice = _Choice.of(phi[used], y[used], spec.linear.lower, spec.linear.upper, _operator_of(spec))
    if criterion == "lcurve":
        return choice.scale * float(np.exp(choice.corner()))
    score = choice.gcv if criterion == "gcv" else choice.aic
    best = GRID[int(np.argmin([score(g) for g in GRID]))]
    found = scipy.optimize.minimize_scalar(
        score, bounds=(best - 1, best + 1), method="bounded", options={"xatol": 1e-2}
    )
    return choice.scale * float(np.exp(found.x))


@dataclass
class _Choice:
    """The linear problem for many mu: Phi compressed to a triangle, of which all solutions are made."""

    triangle: Array
    """R (m, I) of Phi = Q R."""
    right: Array
    """Q^T y, (m, K)."""
    outside: float
    """||y - Q Q^T y||^2."""
    rows: int
    """The number n of values."""
    lower: Array | None
    upper: Array | None
    operator: Array
    """L, (I, I)."""
    scale: float
    """s^2 of the largest singular value of Phi L^-1."""

    @classmethod
    def of(cls, phi: Array, y: Array, lower: Array | None, upper: Array | None, operator: Array) -> "_Choice":
        q, r = np.linalg.qr(phi)
        right = q.T @ y
        largest = float(np.linalg.norm(np.linalg.solve(operator.T, r.T), 2))
        return cls(r, right, float(np.sum((y - q @ right) ** 2)), y.size, lower, upper, operator, largest**2)

    def _amplitudes(self, log_mu: float) -> tuple[Array, Array, Array]:
        """A (K, I), which of them are inside their bounds, and the rows (m + I, I) that they are solved from."""
        count = self.triangle.shape[1]
        rows = np.sqrt(self.scale * np.exp(log_mu)) * self.operator
        whole = np.vstack([self.triangle, rows])
        right = np.vstack([self.right, np.zeros((count, self.right.shape[1]))])
        if self.lower is None or self.upper is None:
            a, inside = np.linalg.lstsq(whole, right, rcond=None)[0].T, np.ones((right.shape[1], count), dtype=bool)
        else:
            each = np.broadcast_to(whole, (right.shape[1], *whole.shape))
            a, inside = bounded_solutions(each, right.T, self.lower, self.upper)
        return a, inside, whole

    def _solved(self, log_mu: float) -> tuple[float, float]:
        """S and p at a mu."""
        a, inside, whole = self._amplitudes(log_mu)
        rest, fitted = self.right - self.triangle @ a.T, 0.0
        for mine in inside:
            if mine.any():
                q = np.linalg.qr(whole[:, mine])[0][: len(self.triangle)]
                fitted += float(np.sum(q**2))
        return float(np.sum(rest**2)) + self.outside, fitted

    def gcv(self, log_mu: float) -> float:
        """The logarithm of n S / (n - p)^2."""
        squares, fitted = self._solved(log_mu)
        left = max(self.rows - fitted, EPS * self.rows)
        return float(np.log(squares + self._least) - 2.0 * np.log(left))

    def aic(self, log_mu: float) -> float:
        """n log(S / n) + 2 p"""
        squares, fitted = self._solved(log_mu)
        return float(self.rows * np.log(squares + self._least) + 2.0 * fitted)

    def corner(self) -> float:
        """log mu at the corner of the L-curve, from a spline through its points on the grid."""
        points = []
        for log_mu in GRID:
            a, _, _ = self._amplitudes(log_mu)
            squares = float(np.sum((self.right - self.triangle @ a.T) ** 2)) + self.outside
            rough = float(np.sum((self.operator @ a.T) ** 2))
            points.append((squares + self._least, rough + EPS**2 * float(np.sum(a**2)) + np.finfo(float).tiny))
        curve = scipy.interpolate.CubicSpline(GRID, np.log(points))
        fine = np.linspace(GRID[0], GRID[-1], FINE * (len(GRID) - 1) + 1)
        (x1, y1), (x2, y2) = curve(fine, 1).T, curve(fine, 2).T
        speed = np.hypot(x1, y1)
        bend = np.where(speed > STILL, (x1 * y2 - x2 * y1) / np.maximum(speed, STILL) ** 3, 0.0)
        return float(fine[int(np.argmax(bend))])

    @property
    def _least(self) -> float:
        return EPS**2 * (float(np.sum(self.right**2)) + self.outside) + np.finfo(float).tiny
