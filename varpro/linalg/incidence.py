"""Sums over the pairs (column, parameter) of a compressed Jacobian D, whose column m is d phi_j(m) / d w_p(m).

A parameter may move several columns, so quantities by pair are summed by parameter: with E (M, P), E[m, p(m)] = 1,

    g = E^T g',   H = E^T H' E,   J = (D o a_j(m)) E     the Jacobian of Phi a, A fixed
"""

import numpy as np

from varpro.arrays import Array, is_device_array, namespace


def sum_pairs(values: Array, parameters: Array, n_parameters: int) -> Array:
    """(..., P) from values (..., M) of the pairs; a value that is not finite affects only its own parameter."""
    out = np.zeros((*values.shape[:-1], n_parameters))
    for m, p in enumerate(parameters):
        out[..., p] += values[..., m]
    return out


def jacobian_of_columns(d: Array, a: Array, columns: Array, parameters: Array, n_parameters: int) -> Array:
    """J (..., N, P) of one right-hand side before any projection; d (..., N, M), a (..., I)."""
    out = np.zeros((*d.shape[:-1], n_parameters))
    for m, (j, p) in enumerate(zip(columns, parameters, strict=True)):
        out[..., p] += d[..., m] * a[..., None, j]
    return out


def symmetric(h: Array) -> Array:
    """Both triangles (b, P, P) from the lower one."""
    xp = namespace(h)
    whole: Array = xp.tril(h) + xp.tril(h, -1).mT
    return whole


def sum_by_parameter(h: Array, gradient: Array, parameters: Array, n_parameters: int) -> tuple[Array, Array]:
    """E^T H E and E^T g from H and g of the pairs.

    h (b, M, M), given and returned as its lower triangle; gradient (b, M); host or device.
    """
    if not is_device_array(parameters) and np.array_equal(parameters, np.arange(n_parameters)):
        return h, gradient  # every parameter moves one column
    xp = namespace(h)
    incidence = xp.zeros((len(parameters), n_parameters))
    incidence[xp.arange(len(parameters)), parameters] = 1.0
    return incidence.T @ symmetric(h) @ incidence, gradient @ incidence
