"""Which array library a layer runs on.  The only module that knows of CuPy."""

import importlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""An array of any dtype; the docstrings give shape and dtype."""


def is_device_array(a: object) -> bool:
    """Whether a lives on a CUDA device, told without importing CuPy."""
    return type(a).__module__.partition(".")[0] == "cupy"


def namespace(a: object) -> ModuleType:
    """numpy or cupy, whichever made a."""
    return importlib.import_module("cupy") if is_device_array(a) else np


def to_host(a: Any) -> Array:
    """a as a NumPy array; a copy only if it lives on a device."""
    return a.get() if is_device_array(a) else np.asarray(a)


def cuda_available() -> bool:
    """Whether CuPy, a driver and at least one device are here."""
    try:
        cupy = importlib.import_module("cupy")
        return int(cupy.cuda.runtime.getDeviceCount()) > 0
    except Exception:  # CuPy raises its own errors for a missing library, driver or device
        return False


# A batch is a frozen dataclass whose arrays all lead with the number of problems; what is no array is shared.


def _map(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    if hasattr(first, "ndim"):
        return function(first, *others)
    if is_dataclass(first):
        names = [f.name for f in fields(first)]
        make: Any = type(first)
        return make(**{n: _map(function, getattr(first, n), *(getattr(o, n) for o in others)) for n in names})
    return first


def take(mask: Array, batch: Any) -> Any:
    """The problems where mask (b,) is True."""
    return batch if mask.all() else _map(lambda a: a[mask], batch)


def choose(mask: Array, yes: Any, no: Any) -> Any:
    """`yes` where mask (b,) is True, else `no`; no copy where one side has it all."""
    if mask.all():
        return yes
    if not mask.any():
        return no
    return _map(lambda a, b: namespace(a).where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b), yes, no)


def scatter(mask: Array, whole: Any, part: Any) -> Any:
    """`whole` with the problems where mask (b,) is True replaced by those of `part`, in order."""

    def put(a: Array, b: Array) -> Array:
        a = a.copy()
        a[mask] = b
        return a

    return part if mask.all() else _map(put, whole, part)


def join(parts: list[Any], order: Array) -> Any:
    """The parts behind one another, then reordered by `order` (B,)."""
    return _map(lambda *a: namespace(a[0]).concatenate(a)[order], *parts) if len(parts) > 1 else parts[0]
