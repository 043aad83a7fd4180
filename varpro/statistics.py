"""Uncertainties of linear and nonlinear parameters from the full Jacobian of the separable model, for b problems.

    residual   r_k = y_k - Phi(w) a_k,    J_k = sum of D_m a[j(m), k] over the pairs of a parameter
    cov(w)     = v (sum_k J_k^T P_perp J_k)^-1
    cov(a_k)   = v [(Phi^T Phi)^-1 + B_k cov' B_k^T],   cov(w, a_k) = -v cov' B_k^T,   B_k = Phi^+ J_k

v is the variance of a residual of weight 1.  This is v (J^T J)^-1 of all parameters in blocks, which avoids a matrix of
N K rows and I K columns.  O'Leary and Rust, Comput. Optim. Appl. 54 (2013) 579-593.

Rows of a ridge are below those of the data in Phi and in J, with zeros below y: v (J^T J)^-1 is then the covariance of
the posterior, with the ridge as prior, which also covers the bias due to the ridge.  The data have fitted
p = tr J_data (J^T J)^-1 J_data^T parameters, the trace of the influence matrix; without a ridge that is the rank of J.
Wahba, J. R. Stat. Soc. B 45 (1983) 133-150.

What the data do not determine has infinite variance: a parameter without effect, and every parameter or amplitude with
a component in the null space of J.  Columns are judged at unit norm, so that units decide nothing.
"""

from dataclasses import dataclass, fields

import numpy as np

from varpro.arrays import Array
from varpro.linalg.one_pool import one_blas_pool
from varpro.linalg.projected_jacobian import ProjectedJacobian, projected_jacobian

EPS = float(np.finfo(float).eps)
DIFFERENCES = 30 * EPS ** (2 / 3)
"""Relative size below which the projected part of a derivative by central differences is only its own error, which is
eps^(2/3) of the change that the step makes."""
PART = (1e-8, 1e-3)
"""Limits of the component in a unit null vector above which a parameter belongs to it."""
CANCELLED = (1e2, 1e7)
"""The error of an amplitude relative to itself, and that of its term to the data, if columns have run together."""
NULL_PART = 1e-6
"""The same for amplitudes and for curves, relative to what the null vector moves."""


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Covariances of b problems before the factor v, for what is determined; zero where a bound holds."""

    nonlinear: Array
    """The covariance of the nonlinear parameters, (b, F, F)."""
    base: Array
    """(Phi^T Phi)^+ of the free columns, (b, 1 or K, I, I)."""
    slopes: Array
    """The slopes B_k, (b, K, I, F)."""
    cross: Array
    """cov(a_k, w) + B_k cov(w), (b, K, I, F), which is 0 except for a robust loss."""
    at_bound: Array
    """Whether a bound holds the parameter, so that it does not vary, (b, F) bool."""
    infinite: Array
    """Whether the parameter is not on a bound and not determined by the data, (b, F) bool."""
    idle: Array
    """Whether the parameter has no effect on the fit, see `undetermined`, (b, F) bool."""
    scale: Array
    """The norm of J's column before the projection, (b, F); 1 where that is 0."""
    null: Array
    """The projector on the null space of the projected Jacobian of unit columns, (b, F, F); 0 for what is
    determined."""
    amplitude_size: Array
    """The norm of Phi's columns, (b, 1 or K, I); 1 where that is 0."""
    amplitude_null: Array
    """The projector on the null space of Phi's unit columns, (b, 1 or K, I, I), without pinned ones and those on
    bounds."""
    undetermined: Array
    """Whether an amplitude is free and not determined by the data, (b, K, I) bool."""
    held: Array
    """Whether an amplitude is pinned or on its bound, (b, K, I) bool."""
    influence: Array
    """The number p of parameters that the data have fitted, (b,)."""

    def rows(self, problems: slice | Array) -> "Uncertainty":
        """The uncertainties of some problems, by index or slice."""
        return Uncertainty(*(getattr(self, f.name)[problems] for f in fields(self)))

    def full(self, problem: int) -> Array:
        """(F + I K, F + I K) for one problem: nonlinear, then linear as (I, K) flattened."""
        k, i, f = self.slopes.shape[1:]
        nonlinear = self.nonlinear[problem]
        slopes, cross = (np.moveaxis(b[problem], 0, 1).reshape(i * k, f) for b in (self.slopes, self.cross))
        out = np.empty((f + i * k, f + i * k))
        out[:f, :f] = nonlinear
        out[f:, :f] = cross - slopes @ nonlinear
        out[:f, f:] = out[f:, :f].T
        mixed = cross @ slopes.T
        linear = (slopes @ nonlinear @ slopes.T - mixed - mixed.T).reshape(i, k, i, k)
        base = np.broadcast_to(self.base[problem], (k, i, i))
        for q in range(k):
            linear[:, q, :, q] += base[q]
        out[f:, f:] = linear.reshape(i * k, i * k)
        return out


def accuracy_of(derivative: str, n_rows: int) -> float:
    """Relative error of derivative columns with `n_rows` rows, by their source: see FitResult.derivative."""
    return DIFFERENCES if derivative == "differences" else n_rows * EPS


@one_blas_pool()
def uncertainty(
    phi: Array,
    d: Array,
    a: Array,
    columns: Array,
    parameters: Array,
    *,
    free: Array,
    free_amplitudes: Array | None = None,
    y_size: Array | None = None,
    n_data: int | None = None,
    accuracy: float | None = None,
    rank_tolerance: float | None = None,
) -> Uncertainty:
    """Covariances at a solution; rows are already weighted.

    phi : (b, 1 or K, N, I); columns without freedom are zero.  d : (b, 1 or K, N, M).  a : (b, I, K).
    columns, parameters : (M,).  free : (b, F) bool, False on a bound.  free_amplitudes : (b, K, I) bool; None: all.
    y_size : (b,) norm of the weighted data; None: 0.  n_data : rows of the data, which a ridge's follow; None: all.
    accuracy : relative error of d; None: N eps.  rank_tolerance : of Phi as it is; None: N eps of unit columns.
    """
    n_rows = phi.shape[2]
    accuracy = n_rows * EPS if accuracy is None else accuracy
    everything: Array = np.ones((len(a), a.shape[2], a.shape[1]), dtype=bool)
    free_a = everything if free_amplitudes is None else free_amplitudes
    size = np.zeros(len(a)) if y_size is None else y_size
    part = projected_jacobian(phi, d, a, columns, parameters, free.shape[1], n_data, rank_tolerance)
    idle = _idle(part, phi, d, a, columns, parameters, size, accuracy)
    nonlinear, influence, null = _inverse(part, free, free & ~idle, accuracy)
    back = part.back / part.size[..., None]
    amplitude_null = _amplitude_null(part, free_a)
    lost = np.einsum("bkii->bki", amplitude_null) > NULL_PART
    lost = (lost | _moved_by_null(part, null)) & free_a
    return Uncertainty(
        nonlinear=nonlinear,
        base=back @ back.mT,
        slopes=part.slopes * free[:, None, None, :],
        cross=np.zeros_like(part.slopes),
        at_bound=~free,
        infinite=np.asarray(null.any(axis=2)),
        idle=idle,
        scale=np.where(part.scale > 0, part.scale, 1.0),
        null=null,
        amplitude_size=part.size,
        amplitude_null=amplitude_null,
        undetermined=lost,
        held=~free_a,
        influence=influence + _influence_of_columns(part, a.shape[2]),
    )


@one_blas_pool()
def undetermined(
    phi: Array,
    d: Array,
    a: Array,
    columns: Array,
    parameters: Array,
    n_free: int,
    *,
    y_size: Array,
    accuracy: float | None = None,
    rank_tolerance: float | None = None,
) -> Array:
    """(b, F) bool: parameters that have no effect on the fit.

    The effect of a parameter is ||P_perp J_p||, the change of the fit per unit of the parameter.  It counts as none
    where

        ||P_perp J_p|| delta_p <= accuracy max(||y||, sum_j ||phi_j a_j||),   delta_p = min ||phi_j|| / ||D_m||

    that is, where a change that alters a column by its own size alters the fit by rounding only, or where the
    amplitudes absorb all of it, ||P_perp J_p|| <= accuracy ||J_p||.  An empty pixel, a column without amplitude and a
    column that has underflowed have no effect, in any unit.  Arguments as in `uncertainty`; y_size (b,) is ||y||
    weighted.
    """
    part = projected_jacobian(phi, d, a, columns, parameters, n_free, None, rank_tolerance)
    return _idle(part, phi, d, a, columns, parameters, y_size, phi.shape[2] * EPS if accuracy is None else accuracy)


def cancelling(u: Uncertainty, a: Array, variance: Array, y_size: Array) -> Array:
    """(b,) bool: whether columns have run into each other, so that their amplitudes grow and cancel without end.

    Then the error of a_j is far larger than a_j, and that of a term ||phi_j a_j|| beyond all proportion to ||y||: what
    looks like a minimum is a stretch of the way to infinity.  a (b, I, K), variance (b,) of a residual of weight 1,
    y_size (b,).
    """
    with np.errstate(all="ignore"):
        own = np.einsum("bkii->bki", u.base) + np.einsum("bkif,bfg,bkig->bki", u.slopes, u.nonlinear, u.slopes)
        error, value = np.sqrt(variance[:, None, None] * own), np.abs(np.moveaxis(a, 2, 1))
        large = error * u.amplitude_size > CANCELLED[1] * y_size[:, None, None]
        return np.asarray((large & (error > CANCELLED[0] * value)).any(axis=(1, 2)))


def _idle(
    part: ProjectedJacobian,
    phi: Array,
    d: Array,
    a: Array,
    columns: Array,
    parameters: Array,
    y_size: Array,
    accuracy: float,
) -> Array:
    """(b, F) bool: see `undetermined`."""
    effect = np.linalg.norm(part.triangle, axis=1)
    phi_size, d_size = np.linalg.norm(phi, axis=2), np.linalg.norm(d, axis=2)
    terms = np.sqrt(np.square(phi_size[:, :, :, None] * np.abs(np.moveaxis(a, 2, 1))[..., None]).sum(axis=(1, 3)))
    most = np.maximum(y_size, terms.sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(phi_size[..., columns] > 0, phi_size[..., columns] / d_size, np.inf).min(axis=1)
    natural = np.full(effect.shape, np.inf)
    for m, p in enumerate(parameters):
        natural[:, p] = np.fmin(natural[:, p], ratio[:, m])
    natural[~np.isfinite(natural)] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = np.where(natural > 0, accuracy * most[:, None] / natural, 0.0)
    return effect <= np.maximum(limit, accuracy * part.scale)


def _inverse(part: ProjectedJacobian, free: Array, live: Array, accuracy: float) -> tuple[Array, Array, Array]:
    """(sum_k J_k^T P_perp J_k)^+ of the live ones among the free parameters (b, F), their influence, the null space.

    The singular values of unit columns are sines of angles between a parameter's effect and what the others can do;
    they are meaningless below the accuracy of the columns.
    """
    scale = np.where(part.scale > 0, part.scale, 1.0)
    unit = np.where(live[:, None, :], part.triangle / scale[:, None, :], 0.0)
    usable: Array = np.asarray(np.isfinite(unit).all(axis=(1, 2)))
    _, s, vt = np.linalg.svd(np.where(usable[:, None, None], unit, 0.0))
    s = np.concatenate([s, np.zeros((len(s), vt.shape[1] - s.shape[1]))], axis=1)
    kept, v = s > accuracy, vt.mT
    half = np.divide(v, s[:, None, :], out=np.zeros_like(v), where=kept[:, None, :])
    moments = part.ridge_moments / (scale[:, :, None] * scale[:, None, :])
    influence = kept.sum(axis=1) - np.einsum("bfr,bfg,bgr->b", half, moments, half)
    beyond = np.where(kept[:, None, :], 0.0, v)
    least = np.where(kept, s, np.inf).min(axis=1, initial=np.inf)
    lost: Array = np.asarray(np.linalg.norm(beyond, axis=2) > np.clip(10 * accuracy / least, *PART)[:, None]) & free
    null = np.where(lost[:, :, None] & lost[:, None, :], beyond @ beyond.mT, 0.0)
    scaled = half / scale[:, :, None]
    gram = scaled @ scaled.mT
    gram[~usable], influence[~usable] = np.nan, np.nan
    return gram, influence, null


def _influence_of_columns(part: ProjectedJacobian, k: int) -> Array:
    """(b,) squares of the data's rows in orthonormal bases of Phi, over all K right-hand sides."""
    repeated = k if part.rank.shape[1] == 1 else 1
    return repeated * (part.rank - part.ridge_phi).sum(axis=1)


def _amplitude_null(part: ProjectedJacobian, free: Array) -> Array:
    """(b, 1 or K, I, I) the null space of Phi in the free amplitudes (b, K, I)."""
    each: Array = free if part.null.shape[1] > 1 else np.asarray(free.all(axis=1, keepdims=True))
    return np.where(each[..., None] & each[..., None, :], part.null, 0.0)


def _moved_by_null(part: ProjectedJacobian, null: Array) -> Array:
    """(b, K, I) bool: amplitudes that change along null vectors of the nonlinear parameters, Phi da = J du."""
    if not null.any():
        return np.zeros(part.slopes.shape[:3], dtype=bool)
    scale = np.where(part.scale > 0, part.scale, 1.0)
    moved = np.abs((part.slopes / scale[:, None, None, :]) @ null[:, None]) * part.norms[..., None]
    most = (part.share / scale[:, None, :]) @ np.abs(null)
    return np.asarray((moved > NULL_PART * most[:, :, None, :]).any(axis=3))
