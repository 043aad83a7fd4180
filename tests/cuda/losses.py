"""Batches of labelled features for the kernels of the losses, and their outputs taken apart."""

import numpy as np


def batches(case, dtype=np.float64, offset=0.0):
    """f (problems, N, D), position (problems, N) int32 and weights (problems, C, D)."""
    problems, n, d, classes = case
    rng = np.random.default_rng(d)
    f, w = offset + rng.standard_normal((problems, n, d)), offset + rng.standard_normal((problems, classes, d))
    return f.astype(dtype), rng.integers(0, classes, (problems, n)).astype(np.int32), w


def order_reference(position, classes):
    """order (problems, N) and first (problems, C + 1), int32."""
    order = np.argsort(position, axis=1, kind="stable").astype(np.int32)
    counts = (position[:, None, :] == np.arange(classes)[:, None]).sum(axis=2)
    first = np.concatenate([np.zeros((len(position), 1)), np.cumsum(counts, axis=1)], axis=1)
    return order, first.astype(np.int32)


def split(result, *parts):
    """The arrays of (dtype, shape) that lie behind one another in bytes."""
    arrays, at = [], 0
    for dtype, shape in parts:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        arrays.append(np.frombuffer(result[at : at + size], dtype=dtype).reshape(shape))
        at += size
    assert at == len(result)
    return arrays
