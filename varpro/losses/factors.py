"""The one pass that all discriminant objectives share: class moments and the projector on the within-class scatter.

    H = F - mu_y,   B_c = sqrt(n_c / N) (mu_c - mu),   S_w = H^T H / N,   S_b = B^T B,   S_t = S_w + S_b

B is kept in contrasts: V (C, C-1), orthonormal and orthogonal to v = sqrt(n / N), captures all of it, since v^T B = 0.
With b = V^T B the two residuals of b on the rows of H are

    exact   Z = b H^+,                              R = b - Z H
    ridge   Z = b H^T (H H^T + delta I)^-1,         R = b - Z H = delta ((H^T H + delta I)^-1 b^T)^T

which is variable projection with Phi = H^T and b^T as data; a Cholesky factor on the smaller side serves both.

Anything with rows of samples or columns of features is where F is; counts, sums and V are on the host.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.linalg

from varpro.arrays import Array, beside, namespace, to_host
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.kernels.class_moments import class_moments
from varpro.linalg import cholesky, projector, updates
from varpro.losses.batch import labels_of, real_matrix, require_finite, require_no_overflow

GRAM_CONDITION_LIMIT = 1e-13
"""Reciprocal condition of the Gram matrix below which solutions from it are not trusted even after correction."""


@dataclass(frozen=True, slots=True)
class Ridge:
    """gamma = abs if given, else rel tr(S_t) / D, which scales with the features and is differentiated."""

    abs: float | None = None
    rel: float = 1e-2

    def __post_init__(self) -> None:
        value = self.rel if self.abs is None else self.abs
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(f"the ridge is {value}; it must be positive (mode='exact' does without)")


@dataclass(frozen=True, slots=True)
class Residual:
    """b split along the rows of H: b = Z H + R."""

    z: Array
    """The coefficients Z, (C-1, N)."""
    r: Array
    """The residual R, (C-1, D)."""
    rank: int
    """The rank w of H; min(N - C, D) with a ridge."""


class DiscriminantFactors:
    """Moments of one batch and, on request, its residuals.

    features : (N, D); y : (N,) integers, gaps allowed; C counts the classes present.
    side : where the ridge is factored: n (N, N), d (D, D), auto the smaller.
    centred : False leaves out H, and with it everything but the moments.
    Raises ShapeError, NonFiniteError.
    """

    H: Array
    """F - mu_y, (N, D) float64."""

    def __init__(
        self,
        features: Array,
        y: Array,
        *,
        ridge: Ridge | None = None,
        side: Literal["auto", "n", "d"] = "auto",
        centred: bool = True,
    ) -> None:
        if side not in ("auto", "n", "d"):
            raise ConfigError(f"side is {side!r}; it is 'auto', 'n' or 'd'")
        self.single = getattr(features, "dtype", None) == np.float32
        rows = real_matrix(features, "F")
        self.n_samples, self.n_features = rows.shape
        self.labels, position = np.unique(labels_of(y, len(rows)), return_inverse=True)
        self.position = beside(position, rows)
        self.ridge, self.side = ridge or Ridge(), side
        moments = class_moments(rows[None], position[None], self.n_classes, centred=centred)
        self.counts, self.within = to_host(moments.counts[0]), to_host(moments.within[0])
        self.means = moments.means[0]
        if moments.h is not None:
            self.H = moments.h[0]
        with np.errstate(over="ignore", invalid="ignore"):
            self.trSw = float(self.within.sum()) / self.n_samples
            if not np.isfinite(self.trSw):
                require_finite(rows, "F")
            xp, weights = namespace(rows), beside(self.weights, rows)
            self.mean = weights @ self.means
            self.deviations = self.means - self.mean
            self.B = xp.sqrt(weights)[:, None] * self.deviations
            self.trSb = float(xp.vdot(self.B, self.B))
            norm2 = self.n_samples * (self.trSt + float(self.mean @ self.mean))
        require_no_overflow(norm2, "F", rows.shape)
        self._norm = np.sqrt(norm2)

    @property
    def n_classes(self) -> int:
        return len(self.labels)

    @property
    def weights(self) -> Array:
        """n_c / N, (C,)."""
        return self.counts / self.n_samples

    @property
    def trSt(self) -> float:
        return self.trSw + self.trSb

    @property
    def Ht(self) -> Array:
        """F - mu, (N, D)."""
        return self.H + self.deviations[self.position]

    @property
    def gamma(self) -> float:
        return self.ridge.rel * self.trSt / self.n_features if self.ridge.abs is None else self.ridge.abs

    @property
    def size(self) -> str:
        """N, D and C, for a message."""
        return f"N = {self.n_samples}, D = {self.n_features}, C = {self.n_classes}"

    @cached_property
    def rank_tolerance(self) -> float:
        """Largest singular value of H that is rounding: of the features, of their means, of the factorisation.

        Relative to ||F - mu||, not to ||H||: what remains of H after a collapse is noise and must not count.
        """
        eps = float(np.finfo(np.float64).eps)
        rounded = 0.5 * float(np.finfo(np.float32).eps) if self.single else 4 * eps
        relative = max(self.n_samples, self.n_features) * eps
        return float(relative * np.sqrt(self.n_samples * self.trSt) + rounded * self._norm)

    def require_spread(self) -> None:
        """Raise DegenerateBatchError for a single class or for features that do not vary."""
        if self.n_classes < 2:
            raise DegenerateBatchError(
                f"one class in the batch ({self.size}): sample at least two classes, better some samples of each"
            )
        if np.sqrt(self.n_samples * self.trSt) <= 4 * np.finfo(np.float64).eps * self._norm:
            raise DegenerateBatchError(
                f"the features do not vary over the batch ({self.size}): look for dead units, or lower the step size"
            )

    @cached_property
    def contrasts(self) -> Array:
        """V (C, C-1): orthonormal columns orthogonal to sqrt(n / N), from one Householder reflection."""
        v = np.sqrt(self.weights)
        v[0] += 1.0
        return (np.eye(self.n_classes) - np.outer(v, v) / v[0])[:, 1:]

    @cached_property
    def b(self) -> Array:
        """V^T B, (C-1, D)."""
        return beside(self.contrasts.T, self.B) @ self.B

    def spread(self, core: Array, z: Array, by_trace: float) -> Array:
        """(N^-1/2 Yn V - Z^T) core + by_trace (F - mu), (N, D), for core (C-1, D), in one array of that size.

        The first factor is the change of b with each sample, less the tilt of the rows of H.
        """
        scaled = beside(self.contrasts / np.sqrt(self.n_samples * self.counts)[:, None], core)
        out = namespace(core).take(scaled @ core + by_trace * self.deviations, self.position, axis=0)
        if by_trace:
            out = updates.add_scaled(out, by_trace, self.H)
        return updates.subtract_transposed(out, z, core)

    def ridge_residual(self) -> Residual:
        """Z and R with the ridge delta = N gamma, factored on the chosen or the smaller side."""
        delta = self.n_samples * self.gamma
        rank = min(self.n_samples - self.n_classes, self.n_features)
        on_n = self.side == "n" or (self.side == "auto" and self.n_samples < self.n_features)
        gram = self.H @ self.H.T if on_n else self.H.T @ self.H
        factor = cholesky.factor(gram, delta, overwrite=True, conditioned=False)
        if factor is None:  # delta is below the rounding of the Gram matrix
            basis = projector.factor(self.H[None], ridge=delta)
            half = self.b @ basis.back[0]
            return Residual(half @ basis.u[0].T, delta * half @ basis.back[0].T, rank)
        if on_n:
            z = factor.solve_rows(self.b @ self.H.T)
            return Residual(z, self.b - z @ self.H, rank)
        solved = factor.solve_rows(self.b)
        return Residual(solved @ self.H.T, delta * solved, rank)

    def exact_residual(self) -> Residual:
        """Z = b H^+ and R = b (I - P_w).

        H H^T + tau Yn Yn^T is regular if H has the rank N - C, and b H^T is orthogonal to Yn, so tau may be chosen
        freely. One correction improves the orthogonality of R from eps cond(H)^2 to eps cond(H).
        """
        n_rows, within = self.n_samples, np.sqrt(self.n_samples * self.trSw)
        if within <= self.rank_tolerance:
            return Residual(namespace(self.H).zeros((self.n_classes - 1, n_rows)), self.b.copy(), 0)
        gram = self.H @ self.H.T
        same = self.position[:, None] == self.position
        gram += same * beside(within**2 / n_rows / self.counts, same)[self.position]
        factor = cholesky.factor(gram, 0.0, overwrite=True)
        if factor is not None and factor.condition < min(
            1 / GRAM_CONDITION_LIMIT, factor.norm / self.rank_tolerance**2
        ):
            z = factor.solve_rows(self.b @ self.H.T)
            r = self.b - z @ self.H
            z = z + factor.solve_rows(r @ self.H.T)
            return Residual(z, self.b - z @ self.H, n_rows - self.n_classes)
        return self._truncated_residual()

    def _truncated_residual(self) -> Residual:
        """exact_residual by the projector, for H that lost rank within its classes; ||H|| is computed on the host."""
        last, gram = self.n_samples - 1, to_host(self.H @ self.H.T)
        top = scipy.linalg.eigh(gram, eigvals_only=True, subset_by_index=[last, last], check_finite=False)
        largest = float(np.sqrt(top[0]))
        basis = projector.factor(self.H.T[None], rank_tolerance=self.rank_tolerance / largest)
        u = basis.u[0]
        z = (basis.back[0] @ (u.T @ self.b.T)).T
        r = self.b - (self.b @ u) @ u.T
        return Residual(z, r - (r @ u) @ u.T, int(basis.rank[0]))

    def moments(self) -> "ClassMoments":
        """Counts, means and the scatter matrix, to be merged with those of other batches."""
        return ClassMoments(self.labels, self.counts.astype(np.float64), self.means, self.H.T @ self.H)


@dataclass(frozen=True, slots=True)
class ClassMoments:
    """Moments of a stream in float64; merging is exact up to rounding and independent of the order.

    Means and scatter are where the features were, labels and counts on the host.
    """

    labels: Array
    """The labels, (C,) sorted."""
    counts: Array
    """The number of samples of each class, (C,) float64, since forgetting makes them fractional."""
    means: Array
    """The class means, (C, D)."""
    scatter: Array
    """The within-class scatter N S_w, (D, D)."""

    @classmethod
    def of(cls, features: Array, y: Array) -> "ClassMoments":
        """Moments of one batch."""
        return DiscriminantFactors(features, y).moments()

    def merge(self, other: "ClassMoments") -> "ClassMoments":
        """The moments of both: within-class scatter grows by n m / (n + m) times the squared distance of the means.

        The result is where these moments are; the others are moved there.
        """
        if self.means.shape[1] != other.means.shape[1]:
            raise ShapeError(f"features of {self.means.shape[1]} and of {other.means.shape[1]} columns do not merge")
        other = other.beside(self.means)
        labels = np.union1d(self.labels, other.labels)
        n, mu = self._spread(labels)
        m, nu = other._spread(labels)
        total = n + m
        gap = beside(np.sqrt(n * m / total)[:, None], mu) * (nu - mu)
        means = mu + beside((m / total)[:, None], mu) * (nu - mu)
        return ClassMoments(labels, total, means, self.scatter + other.scatter + gap.T @ gap)

    def beside(self, like: Array) -> "ClassMoments":
        """The same moments, where `like` is."""
        return replace(self, means=beside(self.means, like), scatter=beside(self.scatter, like))

    def forget(self, factor: float) -> "ClassMoments":
        """The moments with all weights times `factor`, 0 < factor <= 1: a fading memory."""
        if not 0 < factor <= 1:
            raise ConfigError(f"the factor is {factor}; it lies in (0, 1]")
        return ClassMoments(self.labels, factor * self.counts, self.means, factor * self.scatter)

    def _spread(self, labels: Array) -> tuple[Array, Array]:
        counts, means = np.zeros(len(labels)), namespace(self.means).zeros((len(labels), self.means.shape[1]))
        at = np.searchsorted(labels, self.labels)
        counts[at], means[beside(at, means)] = self.counts, self.means
        return counts, means

    @property
    def B(self) -> Array:
        """The rows sqrt(n_c / N) (mu_c - mu), (C, D)."""
        weights = beside(self.counts / self.counts.sum(), self.means)
        return namespace(weights).sqrt(weights)[:, None] * (self.means - weights @ self.means)

    @property
    def Sw(self) -> Array:
        """The within-class scatter per sample, (D, D)."""
        return self.scatter / self.counts.sum()
