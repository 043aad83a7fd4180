"""Small problems by orthogonal factorisation, one after another."""

import numpy as np
import scipy.optimize

from varpro.arrays import Array
from varpro.kernels.small_fits import UNSEEN, Bounds, Pairs, SmallFits


def from_arrays_reference(
    phi: Array,
    d: Array,
    y: Array,
    problems: Array,
    pairs: Pairs,
    n_parameters: int,
    *,
    weights: Array | None = None,
    ridge: float = 0.0,
    kaufman: bool = False,
    limits: Bounds | None = None,
) -> SmallFits:
    """The formulas by orthogonal factorisation, one problem after another; with limits, one right-hand side after
    another, the sums over them at the end."""
    if limits is not None and y.shape[2] > 1:
        each = [
            from_arrays_reference(
                phi, d, y[:, :, k : k + 1], problems, pairs, n_parameters, weights=weights, kaufman=kaufman,
                limits=limits,
            )
            for k in range(y.shape[2])
        ]  # fmt: skip
        a = np.concatenate([one.a for one in each], axis=2)
        cost, terms, h, gradient = (
            sum(getattr(one, name) for one in each) for name in ("cost", "terms", "h", "gradient")
        )
        return SmallFits(a, cost, terms, each[0].condition, h, gradient, each[0].natural)
    parts = []
    incidence = np.zeros((len(pairs.columns), n_parameters))
    incidence[np.arange(len(pairs.columns)), pairs.parameters] = 1.0
    for b, number in enumerate(problems):
        weight = np.ones(y.shape[1]) if weights is None else weights[number % len(weights)]
        n_columns = phi.shape[2]
        rows = np.vstack([weight[:, None] * phi[b], np.sqrt(ridge) * np.eye(n_columns)])
        deriv = np.vstack([weight[:, None] * d[b], np.zeros((n_columns, d.shape[2]))])
        right = np.vstack([weight[:, None] * y[number], np.zeros((n_columns, y.shape[2]))])
        a, inside = _coefficients(rows, right, limits)
        q, inverse = np.linalg.qr(rows[:, inside])[0], np.zeros((n_columns, n_columns))
        residual, inverse[np.ix_(inside, inside)] = right - rows @ a, np.linalg.inv(rows[:, inside].T @ rows[:, inside])
        projected, moment = deriv - q @ (q.T @ deriv), deriv.T @ residual
        h = (a @ a.T)[np.ix_(pairs.columns, pairs.columns)] * (projected.T @ projected)
        if not kaufman:
            h += inverse[np.ix_(pairs.columns, pairs.columns)] * (moment @ moment.T)
        gradient = -np.sum(moment * a[pairs.columns], axis=1)
        scale = 1.0 / np.linalg.norm(rows, axis=0)
        condition = np.linalg.cond(scale[:, None] * (rows.T @ rows) * scale, 1)
        of_d, of_phi = (np.sum((weight[:, None] * columns) ** 2, axis=0) for columns in (d[b], phi[b]))
        squares = of_d / of_phi[pairs.columns]
        with np.errstate(divide="ignore"):
            natural = 1.0 / np.sqrt(squares @ incidence)
        whole, slope = incidence.T @ h @ incidence, gradient @ incidence
        unprojected = (of_d * np.sum(a**2, axis=1)[pairs.columns]) @ incidence
        np.fill_diagonal(whole, np.maximum(np.diagonal(whole), UNSEEN * unprojected))
        norms = np.linalg.norm(weight[:, None] * phi[b], axis=0)
        terms = 0.5 * float(norms @ np.linalg.norm(a, axis=1)) ** 2
        parts.append((a, 0.5 * np.sum(residual**2), terms, condition, whole, slope, natural))
    return SmallFits(*(np.array(column) for column in zip(*parts, strict=True)))


def _coefficients(rows: Array, right: Array, limits: Bounds | None) -> tuple[Array, Array]:
    """The coefficients (I, K), and the columns that are inside their bounds."""
    inside, held = np.arange(rows.shape[1]), np.zeros((rows.shape[1], right.shape[1]))
    if limits is not None:
        side = scipy.optimize.lsq_linear(rows, right[:, 0], limits, method="bvls", tol=1e-14).active_mask
        inside = np.flatnonzero(side == 0)
        held[:, 0] = np.where(side < 0, limits[0], np.where(side > 0, limits[1], 0.0))
    q, r = np.linalg.qr(rows[:, inside])
    held[inside] = np.linalg.solve(r, q.T @ (right - rows @ held))
    return held, inside
