"""Small problems by orthogonal factorisation, one after another."""

import numpy as np

from varpro.arrays import Array
from varpro.kernels.small_fits import UNSEEN, Pairs, SmallFits


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
) -> SmallFits:
    """The formulas by orthogonal factorisation, one problem after another."""
    parts = []
    incidence = np.zeros((len(pairs.columns), n_parameters))
    incidence[np.arange(len(pairs.columns)), pairs.parameters] = 1.0
    for b, number in enumerate(problems):
        weight = np.ones(y.shape[1]) if weights is None else weights[number % len(weights)]
        n_columns = phi.shape[2]
        rows = np.vstack([weight[:, None] * phi[b], np.sqrt(ridge) * np.eye(n_columns)])
        deriv = np.vstack([weight[:, None] * d[b], np.zeros((n_columns, d.shape[2]))])
        right = np.vstack([weight[:, None] * y[number], np.zeros((n_columns, y.shape[2]))])
        q, r = np.linalg.qr(rows)
        a = np.linalg.solve(r, q.T @ right)
        residual, inverse = right - rows @ a, np.linalg.inv(rows.T @ rows)
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
