"""Losses of residuals, in one place: how each one counts a residual, its weight and its slope.

    F = 1/2 sigma^2 sum rho(z^2),   z = |r| / sigma,   psi(z) = z rho'(z^2),   psi'(z) = rho'(z^2) + 2 z^2 rho''(z^2)

rho is that of scipy.optimize.least_squares, sigma its f_scale, r the residual times its weight.  Reweighted least
squares multiplies r by sqrt(rho'); psi and psi' give the covariance of an M-estimator.
Huber, Robust Statistics (1981), ch. 7; Triggs et al., Bundle Adjustment (2000), section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError


@dataclass(frozen=True)
class ResidualLoss:
    """rho and rho' as functions of z^2, for arrays of any shape without negative values, and psi'."""

    name: str
    rho: Callable[[Array], Array]
    weight: Callable[[Array], Array]
    """The weight rho'(z^2) = psi(z) / z, between 0 and 1."""
    slope: Callable[[Array], Array]
    """The slope psi'(z) as a function of that weight: all that is kept of a fit is its weights."""

    def total(self, size: Array, sigma: Array) -> Array:
        """F (B,) for the sizes (B, N, K) of weighted residuals and sigma (B,); infinite where it is not finite."""
        total = 0.5 * sigma**2 * self.rho(squared(size, sigma)).sum(axis=(1, 2))
        return np.where(np.isfinite(total), total, np.inf)


def squared(size: Array, sigma: Array) -> Array:
    """z^2 for sizes (B, N, K) and sigma (B,); 0 for a residual of 0, even if the scale is 0."""
    wide = sigma[:, None, None]
    z = np.divide(size, wide, out=np.zeros(size.shape), where=(wide > 0) & (size > 0))
    return z * z


_ALL = (
    ResidualLoss("linear", lambda s: s, np.ones_like, np.ones_like),
    ResidualLoss(
        "huber",
        lambda s: np.where(s <= 1, s, 2 * np.sqrt(s) - 1),
        lambda s: 1 / np.sqrt(np.maximum(s, 1.0)),
        lambda g: np.where(g < 1, 0.0, 1.0),
    ),
    ResidualLoss("soft_l1", lambda s: 2 * s / (np.sqrt(1 + s) + 1), lambda s: (1 + s) ** -0.5, lambda g: g**3),
    ResidualLoss("cauchy", np.log1p, lambda s: 1 / (1 + s), lambda g: 2 * g**2 - g),
)
LOSSES = tuple(loss.name for loss in _ALL)


def residual_loss(name: str) -> ResidualLoss:
    """The loss of that name.  Raises ConfigError."""
    found = {loss.name: loss for loss in _ALL}.get(name)
    if found is None:
        raise ConfigError(f"loss is {name!r}; choose one of {', '.join(LOSSES)}")
    return found
