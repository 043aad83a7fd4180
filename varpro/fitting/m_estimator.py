"""Variance of robust fits: M-estimators with psi(z) = z rho'(z^2).

    H1 = K^2 [sum psi^2 / dof] / [mean psi']^2 (J^T J)^-1,    K = 1 + p / n var(psi') / [mean psi']^2
    S  = K / [mean psi']^2 (J^T J)^-1 [sum_n j_n j_n^T psi_n^2 / q_n] (J^T J)^-1,    h_n = j_n (J^T J)^-1 j_n^T
    q_n = (1 - h_n) max(1 - h_n, 1/2)

H1 is Huber's, Robust Statistics (1981), section 7.6, for errors that share one distribution; S, in the form of the
jackknife, reflects where the large residuals are.  A parameter that rests on a few values varies more than H1 says if
one of them may be an outlier (intervals from 60 values cover 91 to 92 % instead of 95), and S errs on the other side
with clean data (up to 97 %); their mean covers 94 to 97 % in both cases.  J excludes the weights of the loss.  The
jackknife's q_n is (1 - h_n)^2; but the mean of psi_n^2 is the variance times 1 - h_n only, so that one value with
h_n near 1, on which a parameter rests alone, would make S as large as one likes.
"""

from dataclasses import replace

import numpy as np

from varpro.arrays import Array
from varpro.fitting.losses_of_residuals import residual_loss
from varpro.fitting.solution import Solution
from varpro.fitting.spec import Spec
from varpro.linalg.incidence import jacobian_of_columns
from varpro.problems.columns import WeightedColumns
from varpro.statistics import EPS, Uncertainty

LEFT = 0.5
"""Least 1 - h_n in the second factor of q_n."""
NORMAL_MEDIAN, RAYLEIGH_MEDIAN = 0.6744897501960817, 1.1774100225154747
"""Median of |x| for a normal x of variance 1, and for a complex one whose parts have variance 1 each."""


def robust_variance(
    solution: Solution,
    own_spec: Spec,
    problems: Array,
    found: Uncertainty,
    columns: WeightedColumns,
    values: Array,
    per_dof: Array,
) -> tuple[Array, Array, Uncertainty]:
    """sigma (b,), the factor v (b,) of H1, and the covariances (H1 + S) / 2 v, from the final weights of the loss.

    own_spec : without the weights of the loss.  values : (b,) n.  per_dof : (b,) 1 / dof, NaN where there is none.
    """
    assert solution.robust_weights is not None
    data, is_complex = own_spec.data, own_spec.complex_data
    own, weight = data.total_weight()[problems], solution.robust_weights[problems]
    used = own > 0
    fitted = np.where(used, solution.fitted(problems), 0.0)  # a model need not be finite where nothing counts
    residual = np.where(used, own * (data.y[problems] - fitted), 0.0)
    each = residual_loss(solution.loss).slope(weight**2)
    if is_complex:  # psi' along the residual, psi / r across it
        each = 0.5 * (each + weight**2)
    count = used.sum(axis=(1, 2))
    mean = np.where(used, each, 0.0).sum(axis=(1, 2)) / count
    spread = np.where(used, (each - mean[:, None, None]) ** 2, 0.0).sum(axis=(1, 2)) / count
    mean = np.where(mean > 0, mean, np.nan)
    k = 1.0 + found.influence / values * spread / mean**2
    psi = weight**2 * residual
    v = k**2 * np.sum(np.abs(psi) ** 2, axis=(1, 2)) * per_dof / mean**2
    rows = np.concatenate([psi.real, psi.imag], axis=1) if is_complex else psi
    square = (k / mean**2)[:, None, None] * np.moveaxis(rows, 2, 1) ** 2 / v[:, None, None]
    median = np.nanmedian(np.where(used, np.abs(residual), np.nan).reshape(len(own), -1), axis=1)
    sigma = median / (RAYLEIGH_MEDIAN if is_complex else NORMAL_MEDIAN) * np.sqrt(values * per_dof)
    basis, a = own_spec.basis, solution.amplitudes[problems]
    return sigma, v, _half_and_half(found, columns, a, basis.columns, basis.parameters, square)


def _half_and_half(
    u: Uncertainty, columns: WeightedColumns, a: Array, pairs_j: Array, pairs_p: Array, square: Array
) -> Uncertainty:
    """The mean of the covariances u and S; square (b, K, N) are the factors of j j^T / q.

    Rows of a ridge have the factor 1, as in u.
    """
    phi, d, _ = columns
    b, k, n_data = square.shape
    base, cross = np.empty((b, k, *u.base.shape[2:])), np.empty_like(u.slopes)
    nonlinear = np.zeros_like(u.nonlinear)
    for q in range(k):
        own, slopes = phi[:, q if phi.shape[1] > 1 else 0], d[:, q if d.shape[1] > 1 else 0]
        rest = jacobian_of_columns(slopes, a[..., q], pairs_j, pairs_p, u.slopes.shape[3]) - own @ u.slopes[:, q]
        linear = own @ u.base[:, q if u.base.shape[1] > 1 else 0]
        moves = rest @ u.nonlinear  # the effect of a unit change of a value: on w this, on a `linear` less B times this
        leverage = np.einsum("bni,bni->bn", linear, own) + np.einsum("bnf,bnf->bn", moves, rest)
        factor = np.ones(leverage.shape)
        left = np.maximum(1.0 - leverage[:, :n_data], np.sqrt(EPS))
        factor[:, :n_data] = square[:, q] / (left * np.maximum(left, LEFT))
        base[:, q] = linear.mT @ (factor[:, :, None] * linear)
        cross[:, q] = linear.mT @ (factor[:, :, None] * moves)
        nonlinear += moves.mT @ (factor[:, :, None] * moves)
    return replace(u, base=0.5 * (u.base + base), cross=0.5 * cross, nonlinear=0.5 * (u.nonlinear + nonlinear))
