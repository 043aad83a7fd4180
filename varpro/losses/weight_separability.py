"""How orthogonal the columns of a last layer are, and the loss that reads features back through it.

    e(W) = ||W^T W - I||^2 / n,   W (m, n), columns = classes;   e_norm(W) = e of the columns over their norms
    L = (1/N) sum_i KL(p_i || q_y),   p = softmax(f / tau), q_c = softmax(w_c / tau)

L vanishes wherever the features of a class equal its column up to a shift, so it draws classes together but does not
make columns orthogonal; the penalty and the semi-orthogonal form do.  W is the linear part: for given features the
best q_c is the mean of the p_i of its class, and L becomes a generalised Jensen-Shannon divergence within the classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg

from varpro.arrays import Array, beside, namespace, to_host
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.kernels.softmax_divergence import Kind, softmax_divergence, softmax_divergence_eliminated
from varpro.linalg import projector
from varpro.linalg.one_pool import one_blas_pool
from varpro.losses.batch import (
    LossResult,
    class_sums,
    dimensions,
    finite_matrix,
    in_precision_of,
    labels_below,
    labels_of,
    over_batches,
    real_matrix,
    require_finite,
    require_no_overflow,
    require_one_side,
)


def separability(w: Array, normalise: bool = False) -> float:
    """e(W) for w (m, n), or e_norm(W); report both.  Zero columns stay zero.

    0 for orthonormal columns, which need m >= n; otherwise e >= (n - m) / n and e_norm >= n / m - 1.
    """
    columns = finite_matrix(w, "W")
    if normalise:
        columns = columns / _norms(columns, or_one=True)
    return _deviation(columns)[0]


def _norms(columns: Array, *, or_one: bool = False) -> Array:
    xp = namespace(columns)
    largest = abs(columns).max(axis=0)
    safe = xp.where(largest > 0, largest, 1.0)
    norms: Array = safe * xp.sqrt(((columns / safe) ** 2).sum(axis=0))
    return xp.where(largest > 0, norms, 1.0) if or_one else norms


def _deviation(columns: Array) -> tuple[float, Array]:
    """e and its gradient (4 / n) W (W^T W - I)."""
    n = columns.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        excess = columns.T @ columns
        excess.reshape(-1)[:: n + 1] -= 1.0
        value = float(namespace(excess).vdot(excess, excess)) / n
    require_no_overflow(value, "W", columns.shape)
    return value, (4.0 / n) * (columns @ excess)


@dataclass(frozen=True, slots=True)
class SeparabilityPenalty:
    """penalty(W) = beta e(W), or beta e_norm(W); the gradient is with respect to W (m, n)."""

    beta: float = 1.0
    normalise: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.beta) and self.beta >= 0):
            raise ConfigError(f"beta is {self.beta}; it must be 0 or positive")

    def __call__(self, w: Array) -> LossResult:
        columns = finite_matrix(w, "W")
        info = {"e": separability(columns), "e_norm": separability(columns, normalise=True)}
        if not self.normalise:
            value, gradient = _deviation(columns)
        else:
            norms = _norms(columns)
            largest = abs(columns).max(axis=0)
            if not float(largest.min()) > 0:
                zero = int(largest.argmin())
                raise DegenerateBatchError(
                    f"column {zero} of W (m = {len(columns)}, n = {columns.shape[1]}) is zero and has no direction: "
                    "start from random columns, or normalise=False"
                )
            unit = columns / norms
            value, by_unit = _deviation(unit)
            gradient = (by_unit - unit * (unit * by_unit).sum(axis=0)) / norms
        return LossResult(self.beta * value, in_precision_of(w, self.beta * gradient), info)


class SemiOrthogonal:
    """Q of V = Q R with a positive diagonal of R: a smooth map from V (m, n), m >= n, to orthonormal columns.

    value : (m, n).  vjp(g) : the gradient with respect to V, given the one with respect to Q.
    Raises DegenerateBatchError if the columns of V are dependent.
    """

    @one_blas_pool()
    def __init__(self, v: Array) -> None:
        columns = finite_matrix(v, "V")
        m, n = columns.shape
        if m < n:
            raise ShapeError(f"V has {m} rows and {n} columns; {n} orthonormal columns need as many rows")
        basis = projector.factor(columns[None])
        if basis.rank[0] < n:
            raise DegenerateBatchError(f"V (m = {m}, n = {n}) has rank {basis.rank[0]}: its columns are dependent")
        u, back = basis.u[0], to_host(basis.back[0])
        if np.tril(back, -1).any():  # an SVD replaced an ill-conditioned R: make it triangular again
            q, r = np.linalg.qr(to_host(u.T @ columns))
            u, back = u @ beside(q, u), scipy.linalg.solve_triangular(r, np.eye(n))
        sign = np.where(np.diagonal(back) < 0, -1.0, 1.0)
        u, back = u * beside(sign, u), beside(back * sign, u)
        self.value: Array = in_precision_of(v, u)
        self._q, self._inverse, self._input = u, back, v

    def vjp(self, g: Array) -> Array:
        require_one_side(V=self._q, g=g)
        given = finite_matrix(g, "g")
        if given.shape != self._q.shape:
            raise ShapeError(f"g has the shape {given.shape}, V has {self._q.shape}")
        xp = namespace(given)
        lower = xp.tril(-(given.T @ self._q))
        symmetric = lower + xp.tril(lower, -1).T
        return in_precision_of(self._input, (given + self._q @ symmetric) @ self._inverse.T)


def semi_orthogonal(v: Array) -> SemiOrthogonal:
    """Orthonormal columns from v (m, n), with `.value` and `.vjp(g)`."""
    return SemiOrthogonal(v)


Pull = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedBackward:
    """loss(F, y, W=weights (m, n)), columns = classes; with eliminate=True loss(F, y), W computed from F.

    Gradient {"F", "W"}, or an array if W is eliminated; info["W"] is then the best W, for info["labels"].
    """

    dist: Literal["softmax", "l1", "l2"] = "softmax"
    """softmax; l1: max(f, 0) + floor over their sum, for features after ReLU; l2: L = sum ||f - w_y||^2 / N."""
    direction: Literal["pq", "qp"] = "pq"
    """pq: KL(p || q); qp: KL(q || p)."""
    stop: Literal["none", "F", "W"] = "none"
    """The input that is held fixed: its gradient is zero."""
    tau: float = 1.0
    """Temperature of the softmax; 1 / xi suits features of norm 1 / xi."""
    eliminate: bool = False
    floor: float = 1e-6
    """The number added to every entry in l1."""

    def __post_init__(self) -> None:
        choices = {"dist": ("softmax", "l1", "l2"), "direction": ("pq", "qp"), "stop": ("none", "F", "W")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(allowed)}")
        if not (np.isfinite(self.tau) and self.tau > 0 and np.isfinite(self.floor) and self.floor > 0):
            raise ConfigError(f"tau is {self.tau}, floor {self.floor}; both must be positive")
        if self.eliminate and self.stop != "none":
            raise ConfigError(f"stop={self.stop!r} has no meaning with eliminate=True")

    @classmethod
    def paper(cls) -> "FeedBackward":
        """The published form; add 1e-3 times it to the cross-entropy."""
        return cls()

    def __call__(self, features: Array, y: Array, *, W: Array | None = None) -> LossResult:
        if (W is None) != self.eliminate:
            raise ConfigError("eliminate=True finds W itself" if W is not None else "W= (m, n) is missing")
        require_one_side(F=features, W=W)
        if dimensions(features) == 3:
            return over_batches(self, features, y, **({} if W is None else {"W": W}))
        rows = finite_matrix(features, "F") if self.dist == "l1" else real_matrix(features, "F")
        if self.eliminate:
            labels, position = np.unique(labels_of(y, len(rows)), return_inverse=True)
            with np.errstate(over="ignore", invalid="ignore"):
                value, by_rows, weights = self._eliminated(rows, position, len(labels))
        else:
            assert W is not None
            weights = finite_matrix(W, "W").T
            if weights.shape[1] != rows.shape[1]:
                raise ShapeError(f"F has {rows.shape[1]} columns, W has {weights.shape[1]} rows; both are the features")
            position = labels_below(y, len(rows), len(weights), "W")
            with np.errstate(over="ignore", invalid="ignore"):
                value, by_rows, by_weights = self._value(rows, position, weights)
        if not np.isfinite(value):
            require_finite(rows, "F")
        require_no_overflow(value, "F or W", rows.shape)
        xp, by_rows = namespace(rows), in_precision_of(features, by_rows)
        if self.eliminate:
            return LossResult(value, by_rows, {"W": xp.ascontiguousarray(weights.T), "labels": labels})
        assert W is not None
        gradient = {"F": by_rows, "W": in_precision_of(W, xp.ascontiguousarray(by_weights.T))}
        if self.stop != "none":
            gradient[self.stop] = xp.zeros_like(gradient[self.stop])
        info = {"e": separability(W), "e_norm": separability(W, normalise=True)}
        return LossResult(value, gradient, info)

    @property
    def _kind(self) -> Kind:
        return "squares" if self.dist == "l2" else self.direction

    def _value(self, rows: Array, position: Array, weights: Array) -> tuple[float, Array, Array]:
        """L and its gradients for rows (N, m) and weights (n, m)."""
        if self.dist == "l1":
            return self._of_shares(rows, position, weights)
        sums, by_rows, by_weights = softmax_divergence(
            rows[None], position[None], weights[None], self._kind, tau=self.tau, scale=1.0 / len(rows)
        )
        return _mean(sums, len(rows)), by_rows[0], by_weights[0]

    def _eliminated(self, rows: Array, position: Array, n_classes: int) -> tuple[float, Array, Array]:
        """L, its gradient for rows (N, m), and the weights (n, m) that minimise it."""
        if self.dist == "l1":
            weights = self._best_shares(rows, position, n_classes)
            return *self._of_shares(rows, position, weights)[:2], weights
        sums, by_rows, best = softmax_divergence_eliminated(
            rows[None], position[None], n_classes, self._kind, tau=self.tau, scale=1.0 / len(rows)
        )
        return _mean(sums, len(rows)), by_rows[0], best[0]

    def _of_shares(self, rows: Array, position: Array, weights: Array) -> tuple[float, Array, Array]:
        """_value for the l1 distributions."""
        xp, n_rows, n_classes = namespace(rows), len(rows), len(weights)
        log_p, pull_p = self._shares(rows)
        log_all, pull_q = self._shares(weights)
        log_q = log_all[beside(position, rows)]
        if self.direction == "pq":
            p = xp.exp(log_p)
            weighted = p * (log_p - log_q)
            by_log_p, by_log_q = weighted + p, -p
        else:
            q = xp.exp(log_q)
            weighted = q * (log_q - log_p)
            by_log_p, by_log_q = -q, weighted + q
        by_weights = pull_q(class_sums(by_log_q, position, n_classes) / n_rows)
        return _mean(weighted, n_rows), pull_p(by_log_p / n_rows), by_weights

    def _shares(self, rows: Array) -> tuple[Array, Pull]:
        """Logarithms of max(f, 0) + floor over their sum, and the function that maps a gradient back through them."""
        xp = namespace(rows)
        entries = xp.maximum(rows, 0.0) + self.floor
        sums = entries.sum(axis=1, keepdims=True)
        return (
            xp.log(entries) - xp.log(sums),
            lambda g: xp.where(rows > 0, g / entries - g.sum(axis=1, keepdims=True) / sums, 0.0),
        )

    def _best_shares(self, rows: Array, position: Array, n_classes: int) -> Array:
        """The weights (n, m) that minimise L: class means of p, or of log p (qp)."""
        xp, (log_p, _) = namespace(rows), self._shares(rows)
        counts = beside(np.bincount(position, minlength=n_classes)[:, None], rows)
        averaged = xp.exp(log_p) if self.direction == "pq" else log_p
        mean = class_sums(averaged, position, n_classes) / counts
        q = mean if self.direction == "pq" else xp.exp(mean)
        return q * (2.0 * self.floor / q.min(axis=1, keepdims=True)) - self.floor


def _mean(terms: Array, n_rows: int) -> float:
    """The sum over n_rows; never negative, which rounding might make it."""
    return max(float(terms.sum()) / n_rows, 0.0)
