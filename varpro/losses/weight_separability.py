"""How orthogonal the columns of a last layer are, and the loss that reads features back through it.

    e(W) = ||W^T W - I||^2 / n,   W (m, n), columns = classes;   e_norm(W) = e of the columns over their norms
    L = (1/N) sum_i KL(p_i || q_y),   p = softmax(f / tau), q_c = softmax(w_c / tau)

L vanishes wherever the features of a class equal its column up to a shift, so it draws classes together and does not
make columns orthogonal; the penalty and the semi-orthogonal form do.  W is the linear part: for given features the
best q_c is the mean of the p_i of its class, and L becomes a generalised Jensen-Shannon divergence within the classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg

from varpro.arrays import Array
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.linalg import projector
from varpro.losses.batch import (
    LossResult,
    class_sums,
    finite_matrix,
    in_precision_of,
    labels_below,
    labels_of,
    over_batches,
    require_no_overflow,
)


def separability(w: Any, normalise: bool = False) -> float:
    """e(W) for w (m, n), or e_norm(W); report both.  Columns of zeros stay zeros.

    0 for orthonormal columns, which need m >= n: otherwise e >= (n - m) / n and e_norm >= n / m - 1.
    """
    columns = finite_matrix(w, "W")
    if normalise:
        columns = columns / _norms(columns, or_one=True)
    return _deviation(columns)[0]


def _norms(columns: Array, *, or_one: bool = False) -> Array:
    largest = np.abs(columns).max(axis=0)
    safe = np.where(largest > 0, largest, 1.0)
    norms = safe * np.sqrt(((columns / safe) ** 2).sum(axis=0))
    return np.where(largest > 0, norms, 1.0) if or_one else norms


def _deviation(columns: Array) -> tuple[float, Array]:
    """e and its gradient (4 / n) W (W^T W - I)."""
    n = columns.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        excess = columns.T @ columns
        excess.flat[:: n + 1] -= 1.0
        value = float(np.vdot(excess, excess)) / n
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

    def __call__(self, w: Any) -> LossResult:
        columns = finite_matrix(w, "W")
        info = {"e": separability(columns), "e_norm": separability(columns, normalise=True)}
        if not self.normalise:
            value, gradient = _deviation(columns)
        else:
            norms = _norms(columns)
            if not np.abs(columns).max(axis=0).all():
                zero = int(np.abs(columns).max(axis=0).argmin())
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

    value : (m, n).  vjp(g) : the gradient with respect to V, given that with respect to Q.
    Raises DegenerateBatchError where the columns of V are dependent.
    """

    def __init__(self, v: Any) -> None:
        columns = finite_matrix(v, "V")
        m, n = columns.shape
        if m < n:
            raise ShapeError(f"V has {m} rows and {n} columns; {n} orthonormal columns need as many rows")
        basis = projector.factor(columns[None])
        if basis.rank[0] < n:
            raise DegenerateBatchError(f"V (m = {m}, n = {n}) has rank {basis.rank[0]}: its columns are dependent")
        u, back = basis.u[0], basis.back[0]
        if np.tril(back, -1).any():  # an SVD of R stood in for an ill-conditioned triangle: triangulate it again
            q, r = np.linalg.qr(u.T @ columns)
            u, back = u @ q, scipy.linalg.solve_triangular(r, np.eye(n))
        sign = np.where(np.diagonal(back) < 0, -1.0, 1.0)
        u, back = u * sign, back * sign
        self.value: Array = in_precision_of(v, u)
        self._q, self._inverse, self._input = u, back, v

    def vjp(self, g: Any) -> Array:
        given = finite_matrix(g, "g")
        if given.shape != self._q.shape:
            raise ShapeError(f"g has the shape {given.shape}, V has {self._q.shape}")
        lower = np.tril(-(given.T @ self._q))
        symmetric = lower + np.tril(lower, -1).T
        return in_precision_of(self._input, (given + self._q @ symmetric) @ self._inverse.T)


def semi_orthogonal(v: Any) -> SemiOrthogonal:
    """Orthonormal columns from v (m, n), with `.value` and `.vjp(g)`."""
    return SemiOrthogonal(v)


Pull = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedBackward:
    """loss(F, y, W=weights (m, n)), columns = classes; with eliminate=True loss(F, y), W found from F.

    Gradient {"F", "W"}, or an array where W is eliminated; info["W"] is then the best W, for info["labels"].
    """

    dist: Literal["softmax", "l1", "l2"] = "softmax"
    """softmax; l1: max(f, 0) + floor over their sum, for features after ReLU; l2: L = sum ||f - w_y||^2 / N."""
    direction: Literal["pq", "qp"] = "pq"
    """pq: KL(p || q); qp: KL(q || p)."""
    stop: Literal["none", "F", "W"] = "none"
    """The input that is taken as given: its gradient is zero."""
    tau: float = 1.0
    """Temperature of the softmax; features of norm 1 / xi want 1 / xi."""
    eliminate: bool = False
    floor: float = 1e-6
    """Added to every entry in l1."""

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
        """The published form; add 1e-3 of it to the cross-entropy."""
        return cls()

    def __call__(self, features: Any, y: Any, *, W: Any = None) -> LossResult:
        if (W is None) != self.eliminate:
            raise ConfigError("eliminate=True finds W itself" if W is not None else "W= (m, n) is missing")
        if np.ndim(features) == 3:
            return over_batches(self, features, y, **({} if W is None else {"W": W}))
        rows = finite_matrix(features, "F")
        if self.eliminate:
            labels, position = np.unique(labels_of(y, len(rows)), return_inverse=True)
            weights = self._best(rows, position, len(labels))
        else:
            weights = finite_matrix(W, "W").T
            if weights.shape[1] != rows.shape[1]:
                raise ShapeError(f"F has {rows.shape[1]} columns, W has {weights.shape[1]} rows; both are the features")
            position = labels_below(y, len(rows), len(weights), "W")
        with np.errstate(over="ignore", invalid="ignore"):
            value, by_rows, by_weights = self._value(rows, position, weights)
        require_no_overflow(value, "F or W", rows.shape)
        by_rows = in_precision_of(features, by_rows)
        if self.eliminate:
            return LossResult(value, by_rows, {"W": np.ascontiguousarray(weights.T), "labels": labels})
        gradient = {"F": by_rows, "W": in_precision_of(W, np.ascontiguousarray(by_weights.T))}
        if self.stop != "none":
            gradient[self.stop] = np.zeros_like(gradient[self.stop])
        info = {"e": separability(W), "e_norm": separability(W, normalise=True)}
        return LossResult(value, gradient, info)

    def _value(self, rows: Array, position: Array, weights: Array) -> tuple[float, Array, Array]:
        """L and its gradients for rows (N, m) and weights (n, m)."""
        n_rows, n_classes = len(rows), len(weights)
        if self.dist == "l2":
            away = rows - weights[position]
            by_rows = (2.0 / n_rows) * away
            return float(np.vdot(away, away)) / n_rows, by_rows, -class_sums(by_rows, position, n_classes)
        log_p, pull_p = self._distribution(rows)
        log_all, pull_q = self._distribution(weights)
        log_q = log_all[position]
        if self.direction == "pq":
            p = np.exp(log_p)
            weighted = p * (log_p - log_q)
            by_log_p, by_log_q = weighted + p, -p
        else:
            q = np.exp(log_q)
            weighted = q * (log_q - log_p)
            by_log_p, by_log_q = -q, weighted + q
        by_weights = pull_q(class_sums(by_log_q, position, n_classes) / n_rows)
        return max(float(weighted.sum()) / n_rows, 0.0), pull_p(by_log_p / n_rows), by_weights

    def _distribution(self, rows: Array) -> tuple[Array, Pull]:
        """Logarithms of the distributions of rows, and the way back of a gradient with respect to them."""
        if self.dist == "softmax":
            scaled = (rows - rows.max(axis=1, keepdims=True)) / self.tau
            exponentials = np.exp(scaled)
            total = exponentials.sum(axis=1, keepdims=True)
            p = exponentials / total
            return scaled - np.log(total), lambda g: (g - p * g.sum(axis=1, keepdims=True)) / self.tau
        entries = np.maximum(rows, 0.0) + self.floor
        sums = entries.sum(axis=1, keepdims=True)
        return (
            np.log(entries) - np.log(sums),
            lambda g: np.where(rows > 0, g / entries - g.sum(axis=1, keepdims=True) / sums, 0.0),
        )

    def _best(self, rows: Array, position: Array, n_classes: int) -> Array:
        """The weights (n, m) that minimise L: class means of p, of log p (qp), or of the features (l2)."""
        counts = np.bincount(position, minlength=n_classes)[:, None]
        if self.dist == "l2":
            return class_sums(rows, position, n_classes) / counts
        log_p, _ = self._distribution(rows)
        if self.direction == "pq":
            with np.errstate(divide="ignore"):
                log_q = np.log(class_sums(np.exp(log_p), position, n_classes) / counts)
            log_q = np.where(np.isfinite(log_q), log_q, class_sums(log_p, position, n_classes) / counts)
        else:
            log_q = class_sums(log_p, position, n_classes) / counts
        if self.dist == "softmax":
            return self.tau * log_q
        q = np.exp(log_q)
        return q * (2.0 * self.floor / q.min(axis=1, keepdims=True)) - self.floor
