"""Errors, degrees of freedom and covariances of a batch of fitted problems, in the user's terms; one fit is one row.

    sigma^2 = rss / dof,   dof = values - p,   p = tr of the influence matrix: see varpro.statistics
    cov = v (J^T J)^-1,    v = sigma^2, or 1 where the weights are known errors

With a robust loss the variance of the M-estimator, see m_estimator, takes the place of sigma^2, and sigma is 1.4826
times the median residual, times sqrt(n / dof) for the fitted parameters.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from varpro.arrays import Array
from varpro.arrays.batch import changed
from varpro.fitting.complex_parts import joined
from varpro.fitting.m_estimator import robust_variance
from varpro.fitting.parameters import Parameters
from varpro.fitting.solution import Solution
from varpro.fitting.spec import Spec
from varpro.fitting.undetermined import empty_errors, uncertainty_at
from varpro.result import Status
from varpro.statistics import EPS, NULL_PART, Uncertainty

LOST = [Status.UNDETERMINED.value, Status.STALLED.value]
"""Ends after which error bars are tried."""


@dataclass(frozen=True)
class Statistics:
    """What is known of b problems besides their parameters; NaN for a problem that was not fitted."""

    dof: Array
    """The number of values less that of the parameters fitted to them, (b,); integers unless there is a ridge."""
    parameters: Array
    """The number of fitted parameters, (b,)."""
    sigma: Array
    """The standard deviation of a residual of weight 1, (b,); NaN where no degrees of freedom are left."""
    variance: Array
    """The factor v, (b,); infinite where every value is 0, which says nothing about the noise."""
    stderr_nonlinear: Array
    """The standard errors of w, (b, P), complex where w is."""
    stderr_linear: Array
    """The standard errors of the amplitudes, (b, I, K), complex where they are."""
    slopes: Array
    """dw / du, (b, P, F)."""
    uncertainty: Uncertainty
    names: Parameters
    mixing: Array
    """The map (I, I') from the amplitudes that are solved for to the user's."""

    def row(self, problem: int) -> "Statistics":
        """One problem, as a batch of one."""
        one = slice(problem, problem + 1)
        shared = ("uncertainty", "names", "mixing")
        own = {f.name: getattr(self, f.name)[one] for f in fields(self) if f.name not in shared}
        return replace(self, **own, uncertainty=self.uncertainty.rows(one))

    def covariance(self, problem: int) -> Array:
        """(P + I K,) squared; NaN for what is on a bound, infinite with NaN beside it for what is undetermined."""
        u, t = self.uncertainty.rows(slice(problem, problem + 1)), self.slopes[problem]
        k, i, f = u.slopes.shape[1:]
        move = np.zeros((len(t) + len(self.mixing) * k, f + i * k))
        move[: len(t), :f] = t
        move[len(t) :, f:] = np.kron(self.mixing, np.eye(k))
        with np.errstate(invalid="ignore"):
            out: Array = self.variance[problem] * (move @ u.full(0) @ move.T)
        depends = self.names.depends
        still = np.concatenate([~depends.any(axis=1), ~np.kron(self.mixing != 0, np.ones((k, 1), bool)).any(axis=1)])
        lost = np.concatenate([_followers(u.infinite, depends)[0], _lost_amplitudes(u, self.mixing)[0].ravel()])
        none = np.concatenate([_followers(u.at_bound, depends)[0], _held_amplitudes(u, self.mixing)[0].ravel()])
        for blank in (lost, none):
            out[blank], out[:, blank] = np.nan, np.nan
        out[lost & ~none, lost & ~none] = np.inf
        out[still], out[:, still] = 0.0, 0.0
        return out if np.isfinite(u.influence[0]) else np.full_like(out, np.nan)


def statistics_of(solution: Solution, problems: Array, *, absolute: bool) -> Statistics:
    """The statistics of some problems of a Solution."""
    good = np.isfinite(solution.squares[problems]) & np.isfinite(solution.u[problems]).all(axis=1)
    if good.all():
        return _fitted(solution, problems, absolute=absolute)
    return _spread_out(_fitted(solution, problems[good], absolute=absolute), good, solution, problems)


def _fitted(solution: Solution, problems: Array, *, absolute: bool) -> Statistics:
    spec, unit = solution.own_spec, solution.spec.data.weight_unit
    u, a = solution.u[problems], solution.amplitudes[problems]
    columns = spec.problem.weighted_columns(u, problems, a)
    y_size = _size_of(spec, problems)
    found = uncertainty_at(spec, columns, u, a, y_size)
    values = spec.data.valid[problems] * spec.parts
    lost = np.flatnonzero(np.isin(solution.status[problems], LOST))
    if len(lost):
        empty = _empty(solution, problems[lost], values[lost])
        own = (columns[0][lost], columns[1][lost], columns[2][lost])
        found = _put(found, lost, uncertainty_at(spec, own, u[lost], a[lost], y_size[lost], empty))
    p = found.influence if spec.ridged else np.rint(found.influence).astype(int)
    dof = np.where(values - p > EPS * values, values - p, 0)
    with np.errstate(all="ignore"):
        per_dof = np.where(dof > 0, 1.0 / dof, np.nan)
        if solution.robust_weights is None:
            variance = np.maximum(solution.squares[problems], (EPS * y_size) ** 2) * per_dof  # at least rounding
            sigma = np.sqrt(variance)
            known = np.full(len(problems), 1.0 / unit / unit)
            variance = known if absolute else np.where(variance == 0, np.inf, variance)
        else:
            sigma, variance, found = robust_variance(solution, spec, problems, found, columns, values, per_dof)
        sigma = np.ones(len(problems)) if absolute else unit * sigma
    slopes = np.broadcast_to(spec.names.slopes(u, problems), (len(u), len(spec.names.source), spec.names.n_free))
    return _in_users_terms(solution, found, slopes, dof, p, sigma, variance)


def _empty(solution: Solution, problems: Array, values: Array) -> Array:
    """(b, F) bool: parameters that are not determined, found where the search ended: with the weights of a robust loss.
    values : (b,) how many there are."""
    spec, u, a = solution.spec, solution.u[problems], solution.amplitudes[problems]
    y_size = _size_of(spec, problems)
    found = uncertainty_at(spec, spec.problem.weighted_columns(u, problems, a), u, a, y_size)
    variance = 2.0 * solution.objective[problems] / np.maximum(values - found.influence, 1.0)
    every: Array = solution.status[problems] == Status.UNDETERMINED.value
    return empty_errors(spec, u, problems, found, variance, y_size, every) & ~found.infinite


def _size_of(spec: Spec, problems: Array) -> Array:
    """(b,) norms of the weighted data."""
    return np.asarray(np.linalg.norm(np.linalg.norm(spec.y[problems], axis=1), axis=1))


def _put(whole: Uncertainty, rows: Array, part: Uncertainty) -> Uncertainty:
    """The same uncertainties with those of some problems replaced."""
    out = {}
    for f in fields(whole):
        out[f.name] = getattr(whole, f.name).copy()
        out[f.name][rows] = getattr(part, f.name)
    return Uncertainty(**out)


def _in_users_terms(
    solution: Solution, u: Uncertainty, t: Array, dof: Array, p: Array, sigma: Array, variance: Array
) -> Statistics:
    """The covariances of free parameters and mixed amplitudes, turned into errors of the user's parameters; t (b, P, F)
    is dw / du."""
    names, mixing, scale = solution.spec.names, solution.spec.amplitude_map(), np.sqrt(variance)
    with np.errstate(all="ignore"):
        nonlinear = scale[:, None] * np.sqrt(np.einsum("bpf,bfg,bpg->bp", t, u.nonlinear, t))
        slopes = np.einsum("ij,bkjf->bkif", mixing, u.slopes)
        own = np.einsum("ij,bkjl,il->bki", mixing, u.base, mixing)
        spread = np.einsum("bkif,bfg,bkig->bki", slopes, u.nonlinear, slopes)
        spread -= 2.0 * np.einsum("ij,bkjf,bkif->bki", mixing, u.cross, slopes)
        linear = scale[:, None, None] * np.sqrt(own + spread)
    nonlinear[_followers(u.infinite, names.depends)] = np.inf
    nonlinear[_followers(u.at_bound, names.depends)] = np.nan
    linear = np.moveaxis(linear, 1, 2)
    linear[_lost_amplitudes(u, mixing)] = np.inf
    linear[_held_amplitudes(u, mixing)] = np.nan
    linear[:, ~(mixing != 0).any(axis=1)] = 0.0  # determined by the equations alone
    return Statistics(
        dof=dof,
        parameters=p,
        sigma=sigma,
        variance=variance,
        stderr_nonlinear=joined(nonlinear, solution.spec.complex_w),
        stderr_linear=joined(linear, solution.spec.complex_data),
        slopes=t,
        uncertainty=u,
        names=names,
        mixing=mixing,
    )


def _followers(which: Array, depends: Array) -> Array:
    """(b, P) parameters that follow one of the free parameters `which` (b, F)."""
    return np.asarray((which[:, None, :] & depends).any(axis=2))


def _held_amplitudes(u: Uncertainty, mixing: Array) -> Array:
    """(b, I, K) the user's amplitudes on a bound; mixed ones have no bounds, and the pinned one is left out."""
    if not _plain(mixing):
        return np.zeros((len(u.held), len(mixing), u.held.shape[1]), dtype=bool)
    return np.moveaxis(u.held, 1, 2)[:, (mixing != 0).argmax(axis=1)]


def _lost_amplitudes(u: Uncertainty, mixing: Array) -> Array:
    """(b, I, K) the user's amplitudes that the data do not fully determine."""
    if _plain(mixing):
        return np.moveaxis(u.undetermined, 1, 2)[:, (mixing != 0).argmax(axis=1)]
    unit = mixing[None, None] / u.amplitude_size[:, :, None, :]
    lost = np.linalg.norm(unit @ u.amplitude_null, axis=3) > NULL_PART * np.linalg.norm(unit, axis=3)
    moves = (u.slopes / u.scale[:, None, None, :]) @ u.null[:, None]
    moves = np.where(u.undetermined[..., None], moves, 0.0)
    moved = np.abs(mixing @ moves) > NULL_PART * (np.abs(mixing) @ np.abs(moves))
    return np.moveaxis(lost | moved.any(axis=3), 1, 2)


def _plain(mixing: Array) -> bool:
    """Whether each of the user's amplitudes is one of those solved for."""
    return bool(((mixing != 0).sum(axis=1) == 1).all() and (mixing.sum(axis=1) == 1).all())


def _spread_out(some: Statistics, good: Array, solution: Solution, problems: Array) -> Statistics:
    """The statistics of `good` (b,) among all problems; the others get NaN, and the counts they would have had."""
    values = solution.spec.data.valid[problems] * solution.spec.parts
    nominal = solution.spec.n_parameters[problems]
    wide = {f.name: _at(getattr(some, f.name), good) for f in fields(some) if f.name.startswith(("stderr", "sigma"))}
    u = Uncertainty(*(_at(getattr(some.uncertainty, f.name), good) for f in fields(some.uncertainty)))
    dof, p = np.maximum(values - nominal, 0).astype(some.dof.dtype), nominal.astype(some.parameters.dtype)
    dof[good], p[good] = some.dof, some.parameters
    whole = changed(
        some, dof=dof, parameters=p, variance=_at(some.variance, good), slopes=_at(some.slopes, good), **wide
    )
    return replace(whole, uncertainty=u)


def _at(values: Array, good: Array) -> Array:
    """The values at the rows of `good`, NaN or False elsewhere."""
    missing = False if values.dtype == bool else complex(np.nan, np.nan) if np.iscomplexobj(values) else np.nan
    out: Array = np.full((len(good), *values.shape[1:]), missing, dtype=values.dtype)
    out[good] = values
    return out
