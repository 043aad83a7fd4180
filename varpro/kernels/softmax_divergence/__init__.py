"""Divergence of the rows of a class from the row of weights of that class, with both gradients.

p = softmax(f / tau) of a sample, q = softmax(w / tau) of its class

pq       KL(p || q)       for f: p (log p - log q - KL) / tau      for w: (q - p) / tau
qp       KL(q || p)              (p - q) / tau                            q (log q - log p - KL) / tau
squares  ||f - w||^2             2 (f - w)                                -2 (f - w)
"""

import math
from typing import Literal

import numpy as np

from varpro import _cpu
from varpro.arrays import Array, is_device_array
from varpro.errors import ShapeError
from varpro.kernels._checks import doubles
from varpro.kernels.class_moments import check_batches, positions
from varpro.kernels.softmax_divergence import cuda

Kind = Literal["pq", "qp", "squares"]
KINDS: tuple[Kind, ...] = ("pq", "qp", "squares")


def softmax_divergence(
    f: Array, position: Array, weights: Array, kind: Kind, *, tau: float = 1.0, scale: float = 1.0
) -> tuple[Array, Array, Array]:
    """value (B, C), summed over the samples of each class, and `scale` times the gradients of the total.

    f : (B, N, D) float32 or float64; position : (B, N) integers; weights : (B, C, D).  The gradients are (B, N, D) in
    the dtype of f and (B, C, D) float64; all arithmetic is in float64.  value[c] is not finite if a feature of the
    class or its weights are not.  If f and weights are on a device, so are the results; position may be on either side.
    """
    if weights.ndim != 3 or weights.shape != (len(f), weights.shape[1], f.shape[-1]):
        raise ShapeError(f"weights have shape {weights.shape}, f {f.shape}; they need (B, C, D)")
    _check(f, position, weights.shape[1], kind, tau)
    if is_device_array(f):
        return cuda.softmax_divergence(f, position, weights, weights.shape[1], kind, tau=tau, scale=scale)
    by_f, by_weights, value = np.empty(f.shape, dtype=f.dtype), np.empty(weights.shape), np.empty(weights.shape[:2])
    _cpu.softmax_divergence(
        np.ascontiguousarray(f), positions(position), doubles(weights), None, value, by_f, by_weights, float(tau),
        float(scale), KINDS.index(kind),
    )  # fmt: skip
    return value, by_f, by_weights


def softmax_divergence_eliminated(
    f: Array, position: Array, n_classes: int, kind: Kind, *, tau: float = 1.0, scale: float = 1.0
) -> tuple[Array, Array, Array]:
    """value (B, C), the gradient for f, and the weights (B, C, D) that minimise the value.

    These are tau log of the mean p (pq), tau times the mean log p (qp), or the mean; zeros for a class without samples.
    """
    _check(f, position, n_classes, kind, tau)
    if is_device_array(f):
        return cuda.softmax_divergence(f, position, None, n_classes, kind, tau=tau, scale=scale)
    best, value = np.zeros((f.shape[0], n_classes, f.shape[2])), np.empty((f.shape[0], n_classes))
    by_f = np.empty(f.shape, dtype=f.dtype)
    _cpu.softmax_divergence(
        np.ascontiguousarray(f), positions(position), None, best, value, by_f, None, float(tau), float(scale),
        KINDS.index(kind),
    )  # fmt: skip
    return value, by_f, best


def _check(f: Array, position: Array, n_classes: int, kind: str, tau: float) -> None:
    if kind not in KINDS:
        raise ShapeError(f"kind is {kind!r}; it is one of {', '.join(KINDS)}")
    check_batches(f, position, n_classes)
    if f.shape[2] == 0:
        raise ShapeError(f"f has shape {f.shape}; a row needs an entry or more")
    if not (tau > 0 and math.isfinite(tau) and math.isfinite(1.0 / tau)):
        raise ShapeError(f"tau is {tau}; it and its inverse must be positive and finite")
