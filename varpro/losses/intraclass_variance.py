"""Intra-class variance around centroids, which are linear parameters and can be eliminated.

    learned      L = sum_j ||f_j - C_y||^2 / N,                                  gradients for F and C
    eliminated   C_c = mu_c:   L = tr S_w
    proximal     C_c = (sum_j f_j + kappa C_c^old) / (n_c + kappa):
                 L = (sum_j ||f_j - C_y||^2 + kappa sum_c ||C_c - C_c^old||^2) / N, present classes only
    ema          kappa_c = n_c (1 - alpha) / alpha: C_c = alpha mu_c + (1 - alpha) C_c^old

At the minimising C the derivative through C vanishes, so all forms have dL/df_j = 2 (f_j - C_y) / N.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from varpro.arrays import Array, beside, namespace, to_host
from varpro.errors import ConfigError, ShapeError
from varpro.kernels.softmax_divergence import softmax_divergence
from varpro.losses.batch import (
    Info,
    LossResult,
    dimensions,
    finite_matrix,
    in_precision_of,
    labels_below,
    over_batches,
    real_matrix,
    require_finite,
    require_no_overflow,
    require_one_side,
)
from varpro.losses.factors import DiscriminantFactors

MODES = ("eliminated", "proximal", "learned", "ema")


@dataclass(frozen=True, kw_only=True, slots=True)
class IntraClassVariance:
    """loss(F, y) for F (N, D); loss(F, y, C=centroids (n_classes, D)) in every mode except `eliminated`.

    `info` has trSw, trSt and, except in `learned`, the eliminated centroids C, to be passed on to the next batch.
    Defined for every finite batch: a class with one sample, or features that do not vary, contribute 0.
    """

    mode: Literal["eliminated", "proximal", "learned", "ema"] = "eliminated"
    kappa: float = 1.0
    """Number of samples that the old centroid counts as, in `proximal`; 1 is the centre loss with its rate at 1."""
    alpha: float = 0.5
    """Share of the batch in the new centroid, in `ema`; 0 < alpha <= 1."""
    unbiased: bool = False
    """Whether class terms are multiplied by n_c / (n_c - 1), in `eliminated`: the mean over batches is then the
    variance of the data."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode is {self.mode!r}; it is one of {', '.join(MODES)}")
        if not (np.isfinite(self.kappa) and self.kappa >= 0 and 0 < self.alpha <= 1):
            raise ConfigError(f"kappa is {self.kappa}, alpha {self.alpha}; they need kappa >= 0 and 0 < alpha <= 1")
        if self.unbiased and self.mode != "eliminated":
            raise ConfigError(f"unbiased=True needs mode='eliminated', not {self.mode!r}: other centroids are no means")

    @classmethod
    def paper(cls) -> "IntraClassVariance":
        """The published form: learned centroids that start at zero."""
        return cls(mode="learned")

    def __call__(self, features: Array, y: Array, *, C: Array | None = None) -> LossResult:
        if (C is None) != (self.mode == "eliminated"):
            needs = (
                "takes no centroids C=" if C is not None else "needs centroids C= (n_classes, D), zeros to start with"
            )
            raise ConfigError(f"mode {self.mode!r} {needs}")
        require_one_side(F=features, C=C)
        if dimensions(features) == 3:
            return over_batches(self, features, y, **({} if C is None else {"C": C}))
        if self.mode == "eliminated":
            return self.of(DiscriminantFactors(features, y))
        assert C is not None
        rows, centroids = real_matrix(features, "F"), finite_matrix(C, "C")
        if rows.shape[1] != centroids.shape[1]:
            raise ShapeError(f"F has {rows.shape[1]} columns, the centroids C have {centroids.shape[1]}")
        y = labels_below(y, len(rows), len(centroids), "C")
        with np.errstate(over="ignore", invalid="ignore"):
            value, gradient, by_centroid, info = self._around(rows, y, centroids)
        if not np.isfinite(value):
            require_finite(rows, "F")
        require_no_overflow(value, "F or C", rows.shape)
        if self.mode != "learned":
            return LossResult(value, gradient, info)
        return LossResult(value, {"F": gradient, "C": in_precision_of(C, by_centroid)}, info)

    def of(self, factors: DiscriminantFactors) -> LossResult:
        """The eliminated form, from existing factors."""
        n_c = factors.counts
        weights = np.where(n_c > 1, n_c / np.maximum(n_c - 1, 1), 0.0) if self.unbiased else np.ones(len(n_c))
        value = float(weights @ factors.within) / factors.n_samples
        slope: float | Array = 2.0 / factors.n_samples
        if self.unbiased:
            slope = slope * beside(weights, factors.H)[factors.position][:, None]
        xp = namespace(factors.H)
        gradient = xp.empty(factors.H.shape, dtype=np.float32 if factors.single else np.float64)
        xp.multiply(factors.H, slope, out=gradient)  # casts to single precision as the last step
        info = {"C": factors.means, "labels": factors.labels, "trSw": factors.trSw, "trSt": factors.trSt}
        return LossResult(value, gradient, info)

    def _around(self, rows: Array, y: Array, old: Array) -> tuple[float, Array, Array, Info]:
        """The value, its gradients for F and for fixed centroids, and info."""
        factors = DiscriminantFactors(rows, y, centred=False)
        present = beside(factors.labels, old)
        info: dict[str, object] = {"trSw": factors.trSw, "trSt": factors.trSt}
        if self.mode == "learned":
            centroids, kappa = old, np.zeros(factors.n_classes)
        else:
            memory = factors.counts * (1 - self.alpha) / self.alpha if self.mode == "ema" else self.kappa
            kappa = np.zeros(factors.n_classes) + memory
            centroids = old.copy()
            share = beside((factors.counts / (factors.counts + kappa))[:, None], old)
            centroids[present] += share * (factors.means - old[present])
            info["C"] = centroids
        moved = to_host(((centroids - old)[present] ** 2).sum(axis=1))
        squares, gradient, by_centroid = softmax_divergence(
            rows[None], y[None], centroids[None], "squares", scale=1.0 / len(rows)
        )
        value = (float(squares.sum()) + float(kappa @ moved)) / len(rows)
        return value, gradient[0], by_centroid[0], info
