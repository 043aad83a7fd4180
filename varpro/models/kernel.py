"""Distributions: the data are an integral over r, and P(r) is what is fitted.

    y(t) = int K(t, r; w) P(r) dr  ~  sum_i K(t, r_i; w) P(r_i) dr_i

The amplitudes are the density P at the points r.  There are too many of them for the data to determine, so they are
smooth, and mostly non-negative: ridge=("second-difference", "gcv"), linear="nonnegative".
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy

from varpro.arrays import Array, ArrayLike
from varpro.errors import ConfigError, ShapeError

DIPOLAR = 52.04
"""Frequency of two electron spins 1 nm apart, in MHz."""


class Kernel:
    """Phi_ij = K(t_i, r_j; w) dr_j; the amplitudes are the density P(r), in 1 / unit of r.

    kernel : (t, r, w) -> (N, I) for t (N,), r (I,) and w (P,), as a function of arrays.
    r : (I,) ascending points of the distribution, evenly spaced or not; dr are the weights of the trapezoidal rule.
    names : of the parameters in w, of which there is at least one: a modulation depth, a background, a time zero.
    Derivatives are found numerically.  Example: distances between spin labels (DEER), relaxation spectra.
    Raises ConfigError, ShapeError.
    """

    def __init__(self, kernel: Callable[[Array, Array, Array], Array], r: ArrayLike, names: Sequence[str]) -> None:
        points = np.array(r, dtype=float)
        if points.ndim != 1 or len(points) < 3:
            raise ShapeError(f"r has shape {points.shape}; a distribution needs 3 points or more, (I,)")
        if not (np.isfinite(points).all() and (np.diff(points) > 0).all()):
            raise ConfigError("the points r of a distribution are finite and ascend")
        if not names or isinstance(names, str):
            raise ConfigError("a kernel needs the names of its parameters, at least one")
        self.kernel, self.r, self.parameter_names = kernel, points, tuple(names)
        self.spacing = np.gradient(points)
        self.spacing[[0, -1]] *= 0.5
        """The weights dr of the integral, (I,)."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """P(r) for each point."""
        return tuple(f"P({value:.6g})" for value in self.r)

    def __call__(self, t: Array, w: Array) -> Array:
        """Phi (N, I)."""
        values = np.asarray(self.kernel(t, self.r, w))
        if values.shape != (len(t), len(self.r)):
            raise ShapeError(f"the kernel returned shape {values.shape}; it needs (N, I) = {(len(t), len(self.r))}")
        return values * self.spacing


def dipolar_kernel(t: ArrayLike, r: ArrayLike) -> Array:
    """(N, I): the signal of two electron spins at the distance r, over all orientations; 1 at t = 0.

        K = int_0^1 cos((3 x^2 - 1) omega t) dx = [cos(omega t) C(xi) + sin(omega t) S(xi)] / xi

    with xi = sqrt(6 omega |t| / pi), omega = 2 pi 52.04 MHz nm^3 / r^3 and Fresnel's integrals C and S.
    t : (N,) in microseconds.  r : (I,) in nanometres.  Edwards and Stoll, J. Magn. Reson. 288 (2018) 58-68.
    """
    phase = 2.0 * np.pi * DIPOLAR * np.abs(np.asarray(t, dtype=float))[:, None] / np.asarray(r, dtype=float) ** 3
    xi = np.sqrt(6.0 * phase / np.pi)
    sine, cosine = scipy.special.fresnel(xi)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(xi == 0, 1.0, (np.cos(phase) * cosine + np.sin(phase) * sine) / xi)
