"""Optimised dynamic mode decomposition: all modes at once, by least squares.

    X^T (time x space) = Phi(omega) A,   Phi[n, j] = exp(omega_j (t_n - t_first)),   omega complex

Askham and Kutz, SIAM J. Appl. Dyn. Syst. 17 (2018) 380-416.  As in their paper, the right-hand sides are first
compressed to the leading `rank` left singular vectors; they may also be kept whole.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.linalg

from varpro.arrays import Array, ArrayLike, to_host
from varpro.errors import ConfigError, DataError, ShapeError, at_least
from varpro.fitting.api import fit
from varpro.fitting.axis import Clock, make_axis
from varpro.fitting.containers import plain_array
from varpro.fitting.dmd_constraints import checked_constraints, constrained
from varpro.fitting.dmd_result import DmdResult
from varpro.fitting.dmd_trials import check_trials, fitted_trials
from varpro.linalg.one_pool import one_blas_pool
from varpro.models.guesses import remainder

EVEN = 1e-6
"""Largest relative spread of the time steps at which all variants of the starting equations are the same."""


class ComplexExponentials:
    """exp(w_j t) and its derivative, for complex w."""

    def __init__(self, count: int) -> None:
        self.pairs = np.stack([np.arange(count)] * 2, axis=1)
        self._last: tuple[Array, Array, Array] | None = None
        """t, w and the columns of the latest call: a search asks for their derivatives next."""

    def __call__(self, t: Array, w: Array) -> Array:
        """The columns, (N, r); for many problems, t (b, N) and w (r, b, 1), (b, N, r)."""
        values = np.exp(np.multiply.outer(t, w) if w.ndim == 1 else t[..., None] * np.moveaxis(w, 0, -1))
        self._last = t, w, values
        return values

    def columns(self, t: Array, w: Array) -> Array:
        """Their derivatives, of the same shape."""
        last = self._last
        known = last is not None and last[0] is t and np.array_equal(last[1], w)
        return t[..., None] * (last[2] if last is not None and known else self(t, w))


@one_blas_pool()
def dmd(
    X: ArrayLike,
    t: ArrayLike,
    rank: int,
    *,
    eigenvalues: ArrayLike | None = None,
    constraints: str | Iterable[str] | None = None,
    delays: int = 1,
    trials: int = 0,
    trial_size: float = 0.6,
    seed: int = 0,
    project: bool = True,
    **options: Any,
) -> DmdResult:
    """Optimised DMD of snapshots X (space, time) at times t (time,), which need not be evenly spaced nor begin near 0.

    X ~ sum_j modes_j amplitudes_j exp(eigenvalues_j (t - origin)), origin the earliest time.
    t : numbers, or datetime64 or timedelta64, which are converted to seconds.
    rank : number of modes.  eigenvalues : (rank,) start; by default from the exact DMD of finite differences.
    constraints : 'stable' (no growth), 'imaginary' (neither growth nor decay), 'conjugate' (pairs, as real snapshots
        have them; which eigenvalues are pairs and which are real is taken from the start), or several of them.
    delays : fit each snapshot with the delays - 1 that follow it, which allows more modes than there are points; needs
        evenly spaced times.
    trials : this many fits of parts of the snapshots, for the errors of eigenvalues, modes and forecasts; each has the
        share trial_size of the snapshots, drawn without replacement by `seed`.  They assume that the noise of the
        snapshots is independent; with delays, where each snapshot is in several columns, they come out too small.
    project : fit the projection on the leading `rank` left singular vectors, which is fast and less noisy; False
        fits all of X.
    options : of `varpro.fit`, such as max_iterations.

    Raises ShapeError, DataError, or ConfigError for a rank, constraints, delays or trials that the snapshots do not
    allow.
    """
    asked = checked_constraints(constraints, options)
    at_least("rank", rank, 1)
    snapshots, times, clock = _snapshots(X, t)
    space, is_real = len(snapshots), not np.iscomplexobj(snapshots)
    origin, span = float(times.min()), float(np.ptp(times))
    snapshots, since = _delayed(snapshots, times - origin, delays)
    most = min(snapshots.shape[0], snapshots.shape[1] - 1)
    if rank > most:
        raise ConfigError(f"rank is {rank}; {snapshots.shape[0]} x {snapshots.shape[1]} snapshots allow 1 to {most}")
    size = check_trials(trials, trial_size, len(since), rank)

    left, coordinates = _leading(snapshots, rank)
    start = _starting_eigenvalues(coordinates, since) if eigenvalues is None else to_host(eigenvalues).astype(complex)
    if start.shape != (rank,):
        raise ShapeError(f"eigenvalues have shape {start.shape}; rank {rank} needs ({rank},)")
    start, limits = constrained(asked, start)
    model, given = ComplexExponentials(rank), {**options, **limits}
    y = (coordinates if project else snapshots).T.astype(complex)
    found = fit(model, since, y, start, **given)
    modes = (left[:space] @ found.linear.T) if project else found.linear.T[:space]
    length = np.linalg.norm(modes, axis=0)
    order = np.argsort(-length)
    unit = modes[:, order] / np.where(length[order] > 0, length[order], 1.0)
    several = None
    if trials:
        several = fitted_trials(
            model, since, y, found.nonlinear,
            order=order, snapshots=snapshots[:space], trials=trials, size=size, seed=seed, options=given,
        )  # fmt: skip
    return DmdResult(
        found.nonlinear[order], unit, length[order], found,
        origin=origin, clock=clock, trials=several, is_real=is_real, span=span, order=order,
    )  # fmt: skip


def _snapshots(X: ArrayLike, t: ArrayLike) -> tuple[Array, Array, Clock | None]:
    """X (space, time), t (time,) and its clock, checked.  Raises ShapeError, DataError."""
    snapshots, absent = plain_array(X, "X")
    if snapshots.dtype.kind not in "fciub":
        raise ShapeError(f"X has dtype {snapshots.dtype}; it needs real or complex numbers")
    snapshots = snapshots.astype(complex if np.iscomplexobj(snapshots) else float)
    times, unknown, clock = make_axis(t)
    if snapshots.ndim != 2 or times.shape != snapshots.shape[1:]:
        raise ShapeError(f"X has shape {snapshots.shape}, t {times.shape}; they need (space, time) and (time,)")
    if absent is not None or unknown is not None or not (np.isfinite(snapshots).all() and np.isfinite(times).all()):
        raise DataError("X or t holds NaN, masked or infinite values; leave those snapshots out")
    return snapshots, times, clock


def _delayed(snapshots: Array, t: Array, delays: int) -> tuple[Array, Array]:
    """Each snapshot above the delays - 1 that follow it, (space * delays, time - delays + 1), and its times.

    Along an exponential, x(t + k step) = exp(lambda k step) x(t), so that the rows of later snapshots belong to the
    same eigenvalues.  Raises ConfigError.
    """
    if not 1 <= delays < len(t):
        raise ConfigError(f"delays is {delays}; {len(t)} snapshots allow 1 to {len(t) - 1}")
    if delays == 1:
        return snapshots, t
    order = np.argsort(t)
    t, snapshots = t[order], snapshots[:, order]
    step = np.diff(t)
    if np.ptp(step) > EVEN * step.mean():
        raise ConfigError(
            f"delays is {delays}, but the time steps range from {step.min():.6g} to {step.max():.6g}; delays need "
            "evenly spaced times"
        )
    count = len(t) - delays + 1
    return np.concatenate([snapshots[:, k : k + count] for k in range(delays)]), t[:count]


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
