"""The last linear layer eliminated: least squares on the class targets, as a function of the features.

    L(F) = min_A ||Y - [F 1] A||^2 / N + gamma ||A_1||^2,   A = [A_1; a_0],   the bias a_0 is not penalised
    A_1 = (S_t + gamma I)^-1 (F - mu)^T (Y - ybar) / N,     a_0 = ybar - mu^T A_1
        dL/dF = (2/N) ([F 1] A - Y) A_1^T                       envelope theorem: no derivative of A

Past batches enter as moments, with fading weights and with their features held fixed: more rows of the same problem.
With one-hot targets and classes of equal size, C L = (C - 1) - tr(B (S_t + gamma I)^-1 B^T), the discriminant
criterion.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from varpro.arrays import Array, beside, namespace
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.linalg import cholesky
from varpro.linalg.one_pool import one_blas_pool
from varpro.losses.batch import LossResult, dimensions, in_precision_of, labels_below, over_batches
from varpro.losses.factors import GRAM_CONDITION_LIMIT, ClassMoments, DiscriminantFactors, Ridge


@dataclass(frozen=True, slots=True)
class EliminatedLinear:
    """loss(F, y) for F (N, D); loss(F, y, memory=moments) also counts the past.

    `info` has A (D + 1, n_classes), bias last, gamma, the moments used, trSt and the accuracy on the batch.
    Raises DegenerateBatchError for one class, for features that do not vary, and if gamma is 0 or so small that
    S_t + gamma I is singular: without a ridge, N <= D samples are fitted perfectly whatever the features are.
    """

    n_classes: int
    ridge: Ridge | float = field(default_factory=Ridge)
    """gamma, or Ridge(rel=): gamma = rel tr(S_t) / D, which is differentiated, so that L is the same for F and 2 F."""
    targets: Literal["onehot", "signed"] = "onehot"
    """onehot: 1 for the class, 0 for the others; signed: 1 and -1."""

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise ConfigError(f"n_classes is {self.n_classes}; a classifier needs 2 or more")
        if self.targets not in ("onehot", "signed"):
            raise ConfigError(f"targets is {self.targets!r}; it is 'onehot' or 'signed'")
        if not isinstance(self.ridge, Ridge) and not (np.isfinite(self.ridge) and self.ridge >= 0):
            raise ConfigError(f"the ridge is {self.ridge}; it must be 0 or positive, or Ridge(rel=)")

    @one_blas_pool()
    def __call__(self, features: Array, y: Array, *, memory: ClassMoments | None = None) -> LossResult:
        if dimensions(features) == 3:
            if memory is not None:
                raise ShapeError("F holds several batches; a memory is carried through one at a time")
            return over_batches(self, features, y)
        factors = DiscriminantFactors(features, y)
        y = labels_below(y, factors.n_samples, self.n_classes, "the layer")
        batch = None
        if memory is None:
            factors.require_spread()
        if memory is not None or factors.n_samples > factors.n_features:
            batch = factors.moments()
        moments = batch if memory is None or batch is None else memory.beside(batch.means).merge(batch)
        if moments is None:
            value, a, gamma, mean, trace = self._small_batch(factors)
            total = float(factors.n_samples)
        else:
            value, a, gamma, mean, trace = self.solve(moments)
            total = float(moments.counts.sum())
        centred = factors.Ht + (factors.mean - mean)
        scores = centred @ a[:-1] + (a[-1] + mean @ a[:-1])
        away = scores - beside(self.coded(factors.labels), scores)[factors.position]
        gradient = (2.0 / total) * (away @ a[:-1].T)
        if isinstance(self.ridge, Ridge) and self.ridge.abs is None:
            slope = _squares(a[:-1]) * self.ridge.rel / factors.n_features
            gradient += (2.0 / total * slope) * centred
        accuracy = float((scores.argmax(axis=1) == beside(y, scores)).mean())
        info = {"A": a, "gamma": gamma, "moments": moments, "trSt": trace, "accuracy": accuracy}
        return LossResult(value, in_precision_of(features, gradient), info)

    @one_blas_pool()
    def solve(self, moments: ClassMoments) -> tuple[float, Array, float, Array, float]:
        """L, A, gamma, mean and tr(S_t) of a stream, from S_t (D, D); A and mean are where its means are."""
        total = float(moments.counts.sum())
        xp, weights = namespace(moments.means), beside(moments.counts / total, moments.means)
        mean = weights @ moments.means
        means = moments.means - mean
        within = moments.Sw
        between = xp.sqrt(weights)[:, None] * means
        gram = within + between.T @ between
        n_features, trace = len(mean), float(xp.trace(gram))
        size = f"N = {total:g}, D = {n_features}, C = {len(weights)}"
        if len(weights) < 2 or not trace > 0:
            why = "one class in the data" if len(weights) < 2 else "the features do not vary"
            raise DegenerateBatchError(f"{why} ({size}): sample two classes or more, look for dead units")
        gamma = self._gamma(trace, n_features)
        targets = beside(self.coded(moments.labels), weights)
        middle = weights @ targets
        targets = targets - middle
        a = _solve(gram, gamma, (weights[:, None] * targets).T @ means, size).T
        value = float(weights @ ((targets - means @ a) ** 2).sum(axis=1)) + float((a * (within @ a)).sum())
        return value + gamma * _squares(a), _with_bias(a, middle - mean @ a), gamma, mean, trace

    def _small_batch(self, factors: DiscriminantFactors) -> tuple[float, Array, float, Array, float]:
        """The same from (F - mu) (F - mu)^T (N, N), for N <= D."""
        n, gamma = factors.n_samples, self._gamma(factors.trSt, factors.n_features)
        if gamma == 0:
            raise DegenerateBatchError(
                f"without a ridge a linear layer fits every batch of N <= D ({factors.size}): take ridge > 0, or N > D"
            )
        rows = factors.Ht
        targets = self.coded(factors.labels)
        middle = factors.weights @ targets
        gram = rows @ rows.T
        gram += factors.trSt / n  # along the vector of ones, to which the centred targets are orthogonal
        centred = beside((targets - middle).T, rows)
        dual = _solve(gram, n * gamma, namespace(rows).take(centred, factors.position, axis=1), factors.size)
        a = rows.T @ dual.T
        value = n * gamma**2 * _squares(dual) + gamma * _squares(a)
        bias = beside(middle, rows) - factors.mean @ a
        return value, _with_bias(a, bias), gamma, factors.mean, factors.trSt

    def _gamma(self, trace: float, n_features: int) -> float:
        if not isinstance(self.ridge, Ridge):
            return float(self.ridge)
        return self.ridge.rel * trace / n_features if self.ridge.abs is None else self.ridge.abs

    def coded(self, y: Array) -> Array:
        """The targets (N, n_classes) for labels."""
        onehot = np.eye(self.n_classes)[y]
        return onehot if self.targets == "onehot" else 2.0 * onehot - 1.0


def _squares(a: Array) -> float:
    return float(namespace(a).vdot(a, a))


def _with_bias(a: Array, bias: Array) -> Array:
    return namespace(a).concatenate([a, bias[None]])


def _solve(gram: Array, ridge: float, rows: Array, size: str) -> Array:
    """rows (gram + ridge I)^-1 by Cholesky; gram is overwritten.  Raises DegenerateBatchError if it is singular."""
    factor = cholesky.factor(gram, ridge, overwrite=True)
    if factor is not None and factor.condition < 1 / GRAM_CONDITION_LIMIT:
        return factor.solve_rows(rows)
    raise DegenerateBatchError(
        f"S_t + gamma I is singular to working precision ({size}): dead or collinear features; take a larger ridge"
    )
