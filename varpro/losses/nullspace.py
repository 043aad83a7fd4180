"""NullSpace objective: the scatter of the class means that the within-class scatter does not reach.

    R = b (I - P_w),   E = eig(R R^T)                     exact
    M = R R^T + delta Z Z^T,   E = eig(M)                 ridge: gamma eig(S_b, S_w + gamma I)
    L = phi(e),   e = E / tau,   dL/dF = 2 T Q diag(phi' / tau) Q^T R,   T = N^-1/2 Yn V - Z^T

The gradient contains the tilt of the null space (-Z^T) but no derivative of an eigenvector: phi is symmetric, so its
derivatives are equal within a multiplet, and Q diag(phi') Q^T is the same for every basis Q of it.  As gamma falls to
zero, the ridge form tends to the exact one where that exists, which needs more features than N - C.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from varpro.arrays import Array, beside, is_device_array, namespace, to_host
from varpro.errors import ConfigError, DegenerateBatchError
from varpro.linalg import projector
from varpro.linalg.one_pool import one_blas_pool
from varpro.losses.batch import LossResult, dimensions, over_batches
from varpro.losses.factors import DiscriminantFactors, Residual, Ridge

KAPPA = 1e-8
"""Number added to e under the logarithm, so that two coinciding classes cost much but not infinitely much."""
TIE = 1e-10
"""Eigenvalues closer than this to the smallest, relative to the largest, share its derivative."""

Spectral = Callable[[Array, float], tuple[float, Array]]


def _below_sum(e: Array, eps: float) -> tuple[float, Array]:
    chosen = e < e.min() + eps
    return -float(e[chosen].sum()), -chosen.astype(np.float64)


def _below_mean(e: Array, eps: float) -> tuple[float, Array]:
    value, slope = _below_sum(e, eps)
    count = np.count_nonzero(slope)
    return value / count, slope / count


def _sum(e: Array, eps: float) -> tuple[float, Array]:
    return -float(e.sum()), -np.ones_like(e)


def _mean(e: Array, eps: float) -> tuple[float, Array]:
    return -float(e.mean()), -np.ones_like(e) / len(e)


def _clip(e: Array, eps: float) -> tuple[float, Array]:
    """Continuous; at a tied minimum, the mean of the one-sided derivatives."""
    free, least = e < e.min() + eps, e <= e.min() + TIE * e.max()
    slope = -free.astype(np.float64)
    slope[least] -= np.count_nonzero(~free) / np.count_nonzero(least)
    return -float(np.minimum(e, e.min() + eps).sum()), slope


def _logdet(e: Array, eps: float) -> tuple[float, Array]:
    return -float(np.log(e + KAPPA).mean()), -1.0 / (len(e) * (e + KAPPA))


SPECTRAL: dict[str, Spectral] = {
    "below_sum": _below_sum,
    "below_mean": _below_mean,
    "sum": _sum,
    "mean": _mean,
    "clip": _clip,
    "logdet": _logdet,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NullSpaceLoss:
    """loss(F, y) for F (N, D), or (b, N, D) with y (b, N); a smaller value means better separation.

    Raises DegenerateBatchError, NonFiniteError, ShapeError.
    """

    mode: Literal["ridge", "exact"] = "ridge"
    """ridge: any N and D.  exact: N - C < D, and all C - 1 directions only for D >= N - 1."""
    spectral: Literal["below_sum", "below_mean", "sum", "mean", "clip", "logdet"] = "logdet"
    """phi, which is minimised.  logdet: -mean log(e + 1e-8).  sum, mean: of all e, negative.  below_sum, below_mean: of
    those within eps of the smallest, which jump when one leaves.  clip: -sum min(e, e_min + eps), which does not
    jump."""
    eps: float = 1.0
    """The width of below_sum, below_mean and clip, in units of e."""
    scale: Literal["trace", "none", "gamma"] = "trace"
    """tau = tr(S_t), 1 or gamma: with trace and a relative ridge, L is the same for F and 2 F."""
    strict: bool = True
    """Whether fewer than C - 1 remaining directions are an error in exact mode."""
    ridge: Ridge = field(default_factory=Ridge)
    side: Literal["auto", "n", "d"] = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("mode", ("ridge", "exact")),
            ("spectral", SPECTRAL),
            ("scale", ("trace", "none", "gamma")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(allowed)}")
        if not self.eps > 0:
            raise ConfigError(f"eps is {self.eps}; it must be positive")
        if self.scale == "gamma" and self.mode == "exact":
            raise ConfigError("scale='gamma' needs mode='ridge'; exact mode has no gamma")

    @classmethod
    def paper(cls) -> "NullSpaceLoss":
        """The published form: exact, mean of the eigenvalues below the smallest plus one, unscaled."""
        return cls(mode="exact", spectral="below_mean", eps=1.0, scale="none")

    def __call__(self, features: Array, y: Array) -> LossResult:
        if dimensions(features) == 3:
            return over_batches(self, features, y)
        return self.of(DiscriminantFactors(features, y, ridge=self.ridge, side=self.side))

    @one_blas_pool()
    def of(self, factors: DiscriminantFactors) -> LossResult:
        """The loss from existing factors."""
        factors.require_spread()
        exact = self.mode == "exact"
        if exact:
            self._require_null_space(factors)
        residual = factors.exact_residual() if exact else factors.ridge_residual()
        if exact:
            eigenvalues, basis = _exact_spectrum(factors, residual)
            self._require_directions(factors, len(eigenvalues))
        else:
            eigenvalues, basis = _ridge_spectrum(residual, factors.n_samples * factors.gamma)
        tau = {"trace": factors.trSt, "none": 1.0, "gamma": factors.gamma}[self.scale]
        value, slope = SPECTRAL[self.spectral](eigenvalues / tau, self.eps)
        gradient = self._gradient(factors, residual, eigenvalues, basis, slope / tau)
        info = {
            "E": eigenvalues,
            "r": len(eigenvalues),
            "w": residual.rank,
            "t": residual.rank + len(eigenvalues) if exact else min(factors.n_samples - 1, factors.n_features),
            "gamma": 0.0 if exact else factors.gamma,
            "trSw": factors.trSw,
            "trSb": factors.trSb,
            "trSt": factors.trSt,
            "status": "no within-class scatter" if exact and residual.rank == 0 else "ok",
        }
        return LossResult(value, gradient.astype(np.float32) if factors.single else gradient, info)

    def _gradient(
        self, factors: DiscriminantFactors, residual: Residual, eigenvalues: Array, basis: Array, slope: Array
    ) -> Array:
        """2 T K R and the contributions of gamma and tau; slope holds dL/dE at fixed gamma and tau."""
        relative = self.ridge.rel / factors.n_features if self.mode == "ridge" and self.ridge.abs is None else 0.0
        by_trace = 0.0
        across = beside(basis.T, residual.z)
        if relative:
            tilt = to_host(((across @ residual.z) ** 2).sum(axis=1))
            by_trace += relative * factors.n_samples * float(slope @ tilt)
        if self.scale == "trace":
            by_trace -= float(slope @ eigenvalues) / factors.trSt
        elif self.scale == "gamma":
            by_trace -= relative * float(slope @ eigenvalues) / factors.gamma
        by_trace *= 2.0 / factors.n_samples
        core = across.T @ (beside(2.0 * slope[:, None], across) * (across @ residual.r))
        return factors.spread(core, residual.z, by_trace)

    def _require_null_space(self, factors: DiscriminantFactors) -> None:
        spare = factors.n_samples - factors.n_classes
        if spare >= factors.n_features:
            raise DegenerateBatchError(
                f"the within-class scatter leaves no null space: N - C = {spare} >= D ({factors.size}); "
                f"take a batch below {factors.n_features + factors.n_classes} samples or more features, or mode='ridge'"
            )

    def _require_directions(self, factors: DiscriminantFactors, found: int) -> None:
        wanted = factors.n_classes - 1
        if found == 0 or (self.strict and found < wanted):
            raise DegenerateBatchError(
                f"{found} of C - 1 = {wanted} directions are left beside the within-class scatter ({factors.size}): "
                "D < N - 1, dead or collinear features, or one sample in two classes; take fewer samples or more "
                "features, mode='ridge'" + (", or strict=False" if found else "")
            )


def _square(rows: Array) -> Array:
    """rows (C-1, n) on the host unchanged; for device rows, rows U (C-1, C-1) on the host, U a basis of their range.

    Both have the same singular values and left vectors, and only the small one leaves the device.
    """
    return to_host(rows @ projector.factor(rows.T[None]).u[0]) if is_device_array(rows) else rows


def _exact_spectrum(factors: DiscriminantFactors, residual: Residual) -> tuple[Array, Array]:
    """Nonzero eigenvalues (r,) of R R^T, ascending, and their vectors (C-1, r)."""
    q, s, _ = np.linalg.svd(_square(residual.r), full_matrices=False)
    if residual.rank == 0:
        warnings.warn(
            f"no within-class scatter in this batch ({factors.size}): every class is one sample or has collapsed",
            stacklevel=4,
        )
    kept = s > factors.rank_tolerance / np.sqrt(factors.n_samples)
    return s[kept][::-1] ** 2, q[:, kept][:, ::-1]


def _ridge_spectrum(residual: Residual, delta: float) -> tuple[Array, Array]:
    """All C - 1 eigenvalues of M, ascending, and their vectors.

    If the smallest are lost in the rounding of M, they come from the singular values of its square root, and those that
    are zero are set to zero, so that the logarithm does not amplify the rounding.
    """
    eigenvalues, q = np.linalg.eigh(to_host(residual.r @ residual.r.T + delta * (residual.z @ residual.z.T)))
    if eigenvalues[0] > 1e-6 * eigenvalues[-1]:
        return eigenvalues, q
    root = namespace(residual.r).concatenate([residual.r, float(np.sqrt(delta)) * residual.z], axis=1)
    q, s, _ = np.linalg.svd(_square(root), full_matrices=False)
    zero = s <= max(root.shape) * np.finfo(np.float64).eps * s[0]
    s[zero] = 0.0
    q[:, zero] = 0.0
    return s[::-1] ** 2, q[:, ::-1]
