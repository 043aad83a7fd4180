"""Cross-entropy of the softmax of logits, with its gradient and curvature by the logits.

    f = sum_n (log sum_k exp Z_nk) (sum_k T_nk) - <Z, T>,   P = softmax(Z)
    df/dZ = P - T,   d2f/dZ2 applied to U = P o U - P (sum_k P o U)      for rows of T that sum to 1

The curvature of a row lies below (I - 1 1^T / K) / 2.  Boehning, Ann. Inst. Statist. Math. 44 (1992) 197-200.
"""

import numpy as np

from varpro.arrays import Array


def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """The sum over rows, and P (N, K); logits, targets (N, K), each row of targets with sum 1.

    The sum is infinite or NaN if a logit is.
    """
    largest = logits.max(axis=1, keepdims=True)
    shifted = logits - largest
    p = np.exp(shifted)
    sums = p.sum(axis=1, keepdims=True)
    p /= sums
    value = float(np.sum(np.log(sums), dtype=np.float64)) - float(np.sum(shifted * targets, dtype=np.float64))
    return value, p


def curvature(p: Array, u: Array) -> Array:
    """The second derivative applied to U (N, K), at P (N, K)."""
    out = p * u
    out -= p * out.sum(axis=1, keepdims=True)
    return out


def softmax(logits: Array) -> Array:
    """P (N, K), whose rows sum to 1."""
    p: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p
