"""The formulas of convolutional units, written out in float64."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from varpro.arrays import Array
from varpro.kernels.convolve import Patches


def values_reference(images: Array, w: Array, patches: Patches) -> Array:
    """phi of `values`, from its formula in float64."""
    phi, _ = _squash(_forms(images, w, patches)[0], patches)
    return _pooled(phi, patches)


def jacobian_reference(images: Array, w: Array, patches: Patches) -> Array:
    """D of `jacobian`, in float64."""
    q, derivatives = _forms(images, w, patches)
    _, slope = _squash(q, patches)
    columns = [_pooled(slope * by, patches) for by in derivatives]
    return np.stack(columns, axis=1).transpose(0, 3, 1, 2)


def _forms(images: Array, w: Array, patches: Patches) -> tuple[Array, list[Array]]:
    """q (N, F, places down, places across) and its derivative by each row of the table."""
    w = w.astype(np.float64)
    x = images / 255.0 if images.dtype == np.uint8 else images.astype(np.float64)
    n, planes = x.shape[:2]
    (rows, columns), side = patches.padding, patches.height + patches.width
    x = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    step = patches.stride
    seen = sliding_window_view(x, (patches.height, patches.width), axis=(2, 3))[:, :, ::step, ::step]
    u = [w[t * side :][: patches.height] for t in range(patches.terms)]
    v = [w[t * side + patches.height :][: patches.width] for t in range(patches.terms)]
    if patches.mixed:
        mix = w[patches.terms * side : -1]
        own = [np.einsum("npyxij,pf->nfyxij", seen, mix)] * patches.terms
    else:
        of_plane = [np.broadcast_to(seen[:, p, None], (n, w.shape[1], *seen.shape[2:])) for p in range(planes)]
        own = [of_plane[t % planes] for t in range(patches.terms)]
    q = w[-1][None, :, None, None] + sum(
        np.einsum("nfyxij,if,jf->nfyx", own[t], u[t], v[t]) for t in range(patches.terms)
    )
    derivatives: list[Array] = []
    for t in range(patches.terms):
        derivatives += list(np.moveaxis(np.einsum("nfyxij,jf->nfyxi", own[t], v[t]), -1, 0))
        derivatives += list(np.moveaxis(np.einsum("nfyxij,if->nfyxj", own[t], u[t]), -1, 0))
    if patches.mixed:
        derivatives += [
            sum(np.einsum("nyxij,if,jf->nfyx", seen[:, p], u[t], v[t]) for t in range(patches.terms))
            for p in range(planes)
        ]
    return q, [*derivatives, np.ones_like(q)]


def _squash(q: Array, patches: Patches) -> tuple[Array, Array]:
    """sigma(q) and sigma'(q)."""
    if patches.sigma == "tanh":
        return np.tanh(q), 1.0 / np.cosh(q) ** 2
    if patches.sigma == "square":
        return q**2, 2.0 * q
    if patches.sigma == "smooth_abs":
        size = np.sqrt(q**2 + patches.smoothing)
        return size, q / size
    rising = 1.0 / (1.0 + np.exp(-q))
    return (rising, rising * (1.0 - rising)) if patches.sigma == "logistic" else (np.logaddexp(0.0, q), rising)


def _pooled(a: Array, patches: Patches) -> Array:
    """(N, F, G) means over the cells of (N, F, down, across)."""
    (n, f, down, across), (rows, columns) = a.shape, patches.cells
    means: Array = a.reshape(n, f, rows, down // rows, columns, across // columns).mean(axis=(3, 5))
    return means.reshape(n, f, rows * columns)
