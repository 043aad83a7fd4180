"""Classes by the nearest mean, plain or in the space that separates them best.

    S_b p = lambda (S_w + gamma I) p,   P (D, C-1),   P^T (S_w + gamma I) P = I          ridge
    P orthonormal in range(S_t) and null(S_w)                                            exact
    score_k(x) = x^T P P^T mu_k - mu_k^T P P^T mu_k / 2 (+ log pi_k)

The highest score is the nearest class mean after projection; with a ridge this is shrinkage discriminant analysis.
Compare it with the plain nearest mean and with untrained features before trusting what it says about a network.
"""

from typing import Literal

import numpy as np
import scipy.linalg

from varpro.arrays import Array, ArrayLike, beside, to_host
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.linalg import projector
from varpro.linalg.one_pool import one_blas_pool
from varpro.losses.batch import finite_matrix, require_one_side
from varpro.losses.factors import ClassMoments


class _Stream:
    """Moments gathered by partial_fit; what follows from them is computed on first use, on the host."""

    def __init__(self) -> None:
        self.moments: ClassMoments | None = None

    def _require(self, x: Array | None = None) -> tuple[ClassMoments, Array]:
        if self.moments is None:
            raise DegenerateBatchError("nothing was fitted yet (N = 0): call partial_fit(F, y) first")
        width = self.moments.means.shape[1]
        rows = np.zeros((1, width)) if x is None else finite_matrix(x, "X")
        if rows.shape[1] != width:
            raise ShapeError(f"X has {rows.shape[1]} columns, the fitted features have {width}")
        return self.moments, rows


class DiscriminantClassifier(_Stream):
    """clf.partial_fit(F, y) over batches, then clf.predict(X) -> labels.

    gamma_rel : gamma = gamma_rel tr(S_t) / D.  mode "exact" needs no gamma, but N - C < D; it then fits its own
    samples perfectly whatever the features are, which says nothing about other samples.
    priors : None for equal ones, "counts" for the shares of the data, or (C,) in the order of `labels`.
    """

    def __init__(
        self, gamma_rel: float = 1e-2, priors: ArrayLike | None = None, *, mode: Literal["ridge", "exact"] = "ridge"
    ) -> None:
        super().__init__()
        if mode not in ("ridge", "exact"):
            raise ConfigError(f"mode is {mode!r}; it is 'ridge' or 'exact'")
        if not (np.isfinite(gamma_rel) and gamma_rel > 0):
            raise ConfigError(f"gamma_rel is {gamma_rel}; it must be positive (mode='exact' does without)")
        self.gamma_rel, self.priors, self.mode = gamma_rel, priors, mode
        self._projection: Array | None = None

    def partial_fit(self, features: Array, y: Array) -> "DiscriminantClassifier":
        """Add a batch."""
        return self.merge(ClassMoments.of(features, y))

    def merge(self, moments: ClassMoments) -> "DiscriminantClassifier":
        """Add the moments of another stream, for instance from another rank."""
        self.moments = moments.beside(moments.counts) if self.moments is None else self.moments.merge(moments)
        self._projection = None
        return self

    @property
    def labels(self) -> Array:
        return self._require()[0].labels

    @property
    @one_blas_pool()
    def projection(self) -> Array:
        """P (D, r), r <= C - 1."""
        if self._projection is None:
            moments = self._require()[0]
            if len(moments.labels) < 2:
                raise DegenerateBatchError(f"one class in the data ({_size(moments)}): fit at least two")
            self._projection = self._exact(moments) if self.mode == "exact" else self._ridge(moments)
        return self._projection

    def transform(self, x: Array) -> Array:
        """X P, (N, r), where X is."""
        rows = self._require(x)[1]
        return rows @ beside(self.projection, rows)

    def decision_function(self, x: Array) -> Array:
        """Scores (N, C), where X is, with columns in the order of `labels`."""
        moments = self._require()[0]
        centre = moments.means.mean(axis=0)  # shifts all scores of a row equally and preserves their digits
        means = (moments.means - centre) @ self.projection
        shift = self._log_priors(moments) - 0.5 * (means**2).sum(axis=1)
        rows = self._require(x)[1]
        rows = (rows - beside(centre, rows)) @ beside(self.projection, rows)
        return rows @ beside(means.T, rows) + beside(shift, rows)

    def predict(self, x: Array) -> Array:
        """Labels (N,); the first of equal scores wins."""
        return self.labels[to_host(self.decision_function(x).argmax(axis=1))]

    def _log_priors(self, moments: ClassMoments) -> Array:
        if self.priors is None:
            return np.zeros(len(moments.labels))
        if isinstance(self.priors, str) and self.priors == "counts":
            return np.log(moments.counts / moments.counts.sum())
        priors = np.asarray(self.priors, dtype=np.float64)
        if priors.shape != moments.labels.shape or not (np.isfinite(priors).all() and (priors > 0).all()):
            raise ShapeError(
                f"priors {priors.shape} need one positive number for each of {len(moments.labels)} classes"
            )
        return np.log(priors / priors.sum())

    def _ridge(self, moments: ClassMoments) -> Array:
        between, within = moments.B, moments.Sw
        trace = float(np.trace(within)) + float(np.vdot(between, between))
        if not trace > 0:
            raise DegenerateBatchError(f"the features do not vary ({_size(moments)}): look for dead units")
        within.flat[:: len(within) + 1] += self.gamma_rel * trace / len(within)
        lower = np.linalg.cholesky(within)
        whitened = scipy.linalg.solve_triangular(lower, between.T, lower=True, check_finite=False)
        left, s, _ = np.linalg.svd(whitened, full_matrices=False)
        rank = min(len(moments.labels) - 1, int(np.count_nonzero(s > len(within) * np.finfo(np.float64).eps * s[0])))
        return scipy.linalg.solve_triangular(lower, left[:, :rank], lower=True, trans="T", check_finite=False)

    def _exact(self, moments: ClassMoments) -> Array:
        within, between = moments.Sw, moments.B
        eigenvalues, vectors = np.linalg.eigh(within)
        trace = float(np.trace(within)) + float(np.vdot(between, between))
        kept = eigenvalues > len(within) * np.finfo(np.float64).eps * trace
        basis = vectors[:, kept]
        residual = between - (between @ basis) @ basis.T
        tolerance = np.sqrt(len(within) * np.finfo(np.float64).eps) * max(np.sqrt(trace), 1e-300)
        largest = float(np.linalg.norm(residual, 2))
        wanted = len(moments.labels) - 1
        rank = 0
        if largest > tolerance:
            factor = projector.factor(residual.T[None], rank_tolerance=tolerance / largest)
            rank = int(factor.rank[0])
        if rank < wanted:
            raise DegenerateBatchError(
                f"{rank} of C - 1 = {wanted} directions are free of within-class scatter ({_size(moments)}): "
                "fit fewer samples (N - C < D), or mode='ridge'"
            )
        return factor.u[0][:, :rank]


class NearestCentroid(_Stream):
    """clf.partial_fit(F, y).predict(X): the class whose mean over the data is nearest."""

    def partial_fit(self, features: Array, y: Array) -> "NearestCentroid":
        """Add a batch."""
        moments = ClassMoments.of(features, y)
        self.moments = moments.beside(moments.counts) if self.moments is None else self.moments.merge(moments)
        return self

    def predict(self, x: Array) -> Array:
        """Labels (N,)."""
        moments, rows = self._require(x)
        return moments.labels[to_host(nearest_centroid(rows, beside(moments.means, rows)))]


def nearest_centroid(x: Array, centroids: Array) -> Array:
    """The row of centroids (C, D) nearest to each row of x (N, D); learned centroids may be used directly.

    Both are on one side, host or device, and so is the result.
    """
    require_one_side(x=x, centroids=centroids)
    rows, centres = finite_matrix(x, "X"), finite_matrix(centroids, "the centroids")
    if rows.shape[1] != centres.shape[1]:
        raise ShapeError(f"X has {rows.shape[1]} columns, the centroids have {centres.shape[1]}")
    middle = centres.mean(axis=0)
    rows, centres = rows - middle, centres - middle
    return (0.5 * (centres**2).sum(axis=1) - rows @ centres.T).argmin(axis=1)


def _size(moments: ClassMoments) -> str:
    return f"N = {moments.counts.sum():g}, D = {moments.means.shape[1]}, C = {len(moments.labels)}"
