"""The formulas of the divergences, and of the weights that minimise them."""

import numpy as np

from varpro.arrays import Array
from varpro.kernels.softmax_divergence import Kind


def softmax_divergence_reference(
    f: Array, position: Array, weights: Array, kind: Kind, *, tau: float = 1.0, scale: float = 1.0
) -> tuple[Array, Array, Array]:
    """The values and gradients, from their formulas."""
    member = (position[:, None, :] == np.arange(weights.shape[1])[:, None]).astype(np.float64)
    wide, of_class = f.astype(np.float64), np.take_along_axis(weights, position[:, :, None], axis=1)
    if kind == "squares":
        each, by_f = (wide - of_class) ** 2, 2.0 * scale * (wide - of_class)
        by_w = -by_f
    else:
        log_p, log_q = _log_softmax(wide / tau), _log_softmax(of_class / tau)
        p, q = np.exp(log_p), np.exp(log_q)
        each = p * (log_p - log_q) if kind == "pq" else q * (log_q - log_p)
        toward = (p if kind == "pq" else q) * each.sum(axis=2, keepdims=True)
        by_f = scale / tau * (each - toward if kind == "pq" else p - q)
        by_w = scale / tau * (q - p if kind == "pq" else each - toward)
    value = (member @ each.sum(axis=2, keepdims=True))[:, :, 0]
    return value, by_f.astype(f.dtype), member @ by_w


def best_weights_reference(f: Array, position: Array, n_classes: int, kind: Kind, *, tau: float = 1.0) -> Array:
    """The weights of softmax_divergence_eliminated, for classes with samples."""
    member = (position[:, None, :] == np.arange(n_classes)[:, None]).astype(np.float64)
    member /= np.maximum(member.sum(axis=2, keepdims=True), 1.0)
    wide = f.astype(np.float64)
    if kind == "squares":
        return member @ wide
    log_p = _log_softmax(wide / tau)
    with np.errstate(divide="ignore"):
        best = np.log(member @ np.exp(log_p)) if kind == "pq" else member @ log_p
    return tau * np.where(np.isfinite(best), best, member @ log_p)


def _log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
