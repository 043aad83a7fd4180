"""What every objective takes and returns: checked features and labels, and one result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varpro.arrays import Array, is_device_array, namespace, to_host
from varpro.errors import BackendError, NonFiniteError, ShapeError
from varpro.kernels.class_moments import class_moments

Info = Mapping[str, Any]
"""What an objective found on the way, by name; its class says which names there are."""


@dataclass(frozen=True, slots=True)
class LossResult:
    """Value and gradient of a loss, and what was computed on the way."""

    value: float | Array
    """The value: a float, or (b,) for b batches."""
    gradient: Any
    """The gradient, with the shape and place of F: float32 for float32, else float64; a mapping from name to array if
    there are other inputs than F."""
    info: Info = field(default_factory=dict)


def finite_matrix(a: Array, name: str) -> Array:
    """a (rows, columns) in float64, not copied if it is already.  Raises ShapeError, NonFiniteError."""
    a = real_matrix(a, name).astype(np.float64, copy=False)
    require_finite(a, name)
    return a


def real_matrix(a: Array, name: str) -> Array:
    """a (rows, columns) in float32 or float64, with any values, since the kernels check them.  Raises ShapeError."""
    a = a if is_device_array(a) else np.asarray(a)
    if a.ndim != 2 or 0 in a.shape:
        raise ShapeError(f"{name} has the shape {a.shape}; it needs two dimensions, none of them 0")
    if a.dtype.kind not in "fiu":
        raise ShapeError(f"{name} holds {a.dtype}; it needs real numbers")
    return a if a.dtype in (np.float32, np.float64) else a.astype(np.float64)


def dimensions(a: Array) -> int:
    """The number of dimensions of an array on either side, or of nested lists."""
    return a.ndim if hasattr(a, "ndim") else np.ndim(a)


def require_one_side(**inputs: Array | None) -> None:
    """Raise BackendError if some inputs are on a device and others are not; None is ignored."""
    there = [is_device_array(a) for a in inputs.values() if a is not None]
    if any(there) and not all(there):
        given = {name: is_device_array(a) for name, a in inputs.items() if a is not None}
        device, host = (", ".join(k for k, v in given.items() if v is side) for side in (True, False))
        raise BackendError(f"{device} on a device, {host} on the host: move {host} with cupy.asarray, or take .get()")


def in_precision_of(source: object, a: Array) -> Array:
    """a in float32 if source is, else unchanged."""
    return a.astype(np.float32, copy=False) if getattr(source, "dtype", None) == np.float32 else a


def require_finite(a: Array, name: str) -> None:
    """Raise NonFiniteError with the position of the first value of a that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(float(a.sum())):
            return
    bad = ~namespace(a).isfinite(a)
    count = int(bad.sum())
    if count:
        where = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), a.shape))
        raise NonFiniteError(f"{name}{list(where)} is {float(a[where])}, the first of {count} such values of {a.size}")


def require_no_overflow(value: float, name: str, shape: tuple[int, ...]) -> None:
    """Raise NonFiniteError if value, a sum of squares, is not finite."""
    if not np.isfinite(value):
        raise NonFiniteError(f"the squares of {name} {shape} overflow float64: rescale {name}")


def labels_of(y: Array, n_rows: int, name: str = "F") -> Array:
    """y (n_rows,) of integers, on the host in any case.  Raises ShapeError."""
    y = to_host(y)
    if y.ndim != 1 or len(y) != n_rows:
        raise ShapeError(f"y has the shape {y.shape}; {name} has {n_rows} rows and needs one label each")
    if y.dtype.kind not in "iu":
        raise ShapeError(f"y holds {y.dtype}; labels are integers")
    return y


def labels_below(y: Array, n_rows: int, n_classes: int, owner: str) -> Array:
    """Labels that index the classes of `owner`.  Raises ShapeError."""
    y = labels_of(y, n_rows)
    if int(y.min()) < 0 or int(y.max()) >= n_classes:
        raise ShapeError(f"labels run from {int(y.min())} to {int(y.max())}; {owner} has {n_classes} classes, 0 first")
    return y


def class_sums(rows: Array, position: Array, n_classes: int) -> Array:
    """Sums over the rows of each class: rows (N, D), position (N,) in 0 .. n_classes - 1 -> (n_classes, D)."""
    moments = class_moments(rows[None], position[None], n_classes, centred=False)
    return moments.counts[0, :, None] * moments.means[0]


def over_batches(loss: Callable[..., LossResult], features: Array, y: Array, **inputs: Array | None) -> LossResult:
    """loss(F, y) for F (b, N, D), y (b, N), one batch after another, since one batch keeps all cores busy.

    Inputs with three dimensions are split by batch, others are shared.
    """
    if len(y) != len(features):
        raise ShapeError(f"F holds {len(features)} batches, y {len(y)}")

    def pick(a: Array | None, b: int) -> Array | None:
        return a[b] if a is not None and a.ndim == 3 else a

    parts = [loss(f, y[b], **{k: pick(a, b) for k, a in inputs.items()}) for b, f in enumerate(features)]
    first = parts[0].gradient
    stack = namespace(features).stack
    gradient: Any = (
        {k: stack([p.gradient[k] for p in parts]) for k in first}
        if isinstance(first, Mapping)
        else stack([p.gradient for p in parts])
    )
    return LossResult(
        np.array([p.value for p in parts]), gradient, {k: [p.info[k] for p in parts] for k in parts[0].info}
    )
