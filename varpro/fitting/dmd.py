"""Optimised dynamic mode decomposition: all modes at once, by least squares.

    X^T (time x space) = Phi(omega) A,   Phi[n, j] = exp(omega_j (t_n - t_first)),   omega complex

Askham and Kutz, SIAM J. Appl. Dyn. Syst. 17 (2018) 380-416.  As in their paper, the right-hand sides are first
compressed to the leading `rank` left singular vectors; they may also be kept whole.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from varpro.arrays import Array, ArrayLike, to_host
from varpro.errors import ConfigError, DataError, ShapeError
from varpro.fitting.api import fit
from varpro.fitting.axis import Clock, make_axis, on_axis
from varpro.fitting.containers import plain_array
from varpro.fitting.result import FitResult
from varpro.linalg.one_pool import one_blas_pool
from varpro.models.guesses import remainder

EVEN = 1e-6
"""Largest relative spread of the time steps at which all variants of the starting equations are the same."""


@dataclass(frozen=True, slots=True)
class DmdResult:
    """An optimised DMD of rank r."""

    eigenvalues: Array
    """The eigenvalues in continuous time, (r,) complex: each mode evolves as exp(eigenvalue * t)."""
    modes: Array
    """The modes as unit columns, (space, r) complex, with the phase they have at `origin`."""
    amplitudes: Array
    """The sizes of the modes at `origin`, (r,) real, not negative, descending."""
    fit: FitResult
    """The FitResult of the exponentials, with status and standard errors."""
    origin: float = 0.0
    """The earliest time, to which modes and amplitudes refer: at a distant t = 0 a mode could be 0 or infinite."""
    clock: Clock | None = None
    """How t was made from times, which makes the eigenvalues per second; None if t was given as numbers."""

    def predict(self, t: ArrayLike) -> Array:
        """The decomposition at other times, (space, times) complex."""
        times = np.asarray(on_axis(t, self.clock))
        return (self.modes * self.amplitudes) @ np.exp(np.outer(self.eigenvalues, times - self.origin))


class ComplexExponentials:
    """exp(w_j t) and its derivative, for complex w."""

    def __init__(self, count: int) -> None:
        self.pairs = np.stack([np.arange(count)] * 2, axis=1)

    def __call__(self, t: Array, w: Array) -> Array:
        """The columns, (N, r)."""
        return np.exp(np.multiply.outer(t, w))

    def columns(self, t: Array, w: Array) -> Array:
        """Their derivatives, (N, r)."""
        return t[:, None] * np.exp(np.multiply.outer(t, w))


@one_blas_pool()
def dmd(
    X: ArrayLike,
    t: ArrayLike,
    rank: int,
    *,
    eigenvalues: ArrayLike | None = None,
    project: bool = True,
    **options: Any,
) -> DmdResult:
    """Optimised DMD of snapshots X (space, time) at times t (time,), which need not be evenly spaced nor begin near 0.

    X ~ sum_j modes_j amplitudes_j exp(eigenvalues_j (t - origin)), origin the earliest time.
    t : numbers, or datetime64 or timedelta64, which are converted to seconds.
    rank : number of modes.  eigenvalues : (rank,) start; by default from the exact DMD of finite differences.
    project : fit the projection on the leading `rank` left singular vectors, which is fast and less noisy; False
        fits all of X.
    options : of `varpro.fit`, such as max_iterations.
    """
    snapshots, absent = plain_array(X, "X")
    if snapshots.dtype.kind not in "fciub":
        raise ShapeError(f"X has dtype {snapshots.dtype}; it needs real or complex numbers")
    snapshots = snapshots.astype(complex if np.iscomplexobj(snapshots) else float)
    times, unknown, clock = make_axis(t)
    if snapshots.ndim != 2 or times.shape != snapshots.shape[1:]:
        raise ShapeError(f"X has shape {snapshots.shape}, t {times.shape}; they need (space, time) and (time,)")
    if absent is not None or unknown is not None or not (np.isfinite(snapshots).all() and np.isfinite(times).all()):
        raise DataError("X or t holds NaN, masked or infinite values; leave those snapshots out")
    if not 1 <= rank <= min(snapshots.shape[0], snapshots.shape[1] - 1):
        raise ConfigError(
            f"rank is {rank}; {snapshots.shape[0]} x {snapshots.shape[1]} snapshots allow 1 to "
            f"{min(snapshots.shape[0], snapshots.shape[1] - 1)}"
        )

    origin = float(times.min())
    since = times - origin
    left, coordinates = _leading(snapshots, rank)
    start = _starting_eigenvalues(coordinates, since) if eigenvalues is None else to_host(eigenvalues).astype(complex)
    if start.shape != (rank,):
        raise ShapeError(f"eigenvalues have shape {start.shape}; rank {rank} needs ({rank},)")
    right = coordinates if project else snapshots
    found = fit(ComplexExponentials(rank), since, right.T.astype(complex), start, **options)
    modes = left @ found.linear.T if project else found.linear.T
    size = np.linalg.norm(modes, axis=0)
    order = np.argsort(-size)
    unit = modes[:, order] / np.where(size[order] > 0, size[order], 1.0)
    return DmdResult(found.nonlinear[order], unit, size[order], found, origin, clock)


def _leading(snapshots: Array, rank: int) -> tuple[Array, Array]:
    """The leading left singular vectors (space, r) and the coordinates (r, time), from the smaller Gram matrix."""
    small = snapshots if snapshots.shape[0] <= snapshots.shape[1] else snapshots.conj().T
    _, vectors = scipy.linalg.eigh(small @ small.conj().T, subset_by_index=[len(small) - rank, len(small) - 1])
    leading = vectors[:, ::-1]
    left = leading if small is snapshots else np.linalg.qr(snapshots @ leading)[0]  # X^H X = V S^2 V^H, range X V
    return left, left.conj().T @ snapshots


def _starting_eigenvalues(coordinates: Array, t: Array) -> Array:
    """Eigenvalues of A in z_n+1 - z_n = dt_n A (z_n+1 + z_n) / 2 by least squares: the trapezoidal rule.

    Equations divided by dt_n suffer from noise in short steps, undivided ones from curvature in long steps.  Of the
    divisors dt_n, sqrt(dt_n) and 1, the one whose exponentials leave the least of z is taken.
    """
    _, first = np.unique(t, return_index=True)  # ascending, without repeated times
    t, coordinates = t[first], coordinates[:, first]
    step = np.diff(t)
    rise, middle = np.diff(coordinates, axis=1), 0.5 * (coordinates[:, 1:] + coordinates[:, :-1])
    starts = []
    with np.errstate(all="ignore"):
        for power in (1.0, 0.5, 0.0) if np.ptp(step) > EVEN * step.mean() else (1.0,):
            generator = np.linalg.lstsq((middle * step ** (1 - power)).T, (rise / step**power).T, rcond=None)[0].T
            starts.append(np.linalg.eigvals(generator).astype(complex))
        left = [remainder(np.exp(np.multiply.outer(t - t[0], start)), coordinates.T) for start in starts]
    return starts[int(np.argmin(left))]
