"""How an entry passes CuPy arrays to a CUDA kernel: what is checked, and what is allocated besides the results.

All arrays of a call must be on one device.  Kernels run on CuPy's current stream, so CuPy's memory pool may reuse
what a call has released.
"""

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from varpro.arrays import Array, is_device_array, namespace
from varpro.errors import BackendError
from varpro.kernels._checks import require


def launch(kernel: str, like: Any, **arguments: Any) -> None:
    """Pass addresses to a kernel of varpro._cuda on the device and stream of `like`; None becomes a null pointer."""
    for name, a in arguments.items():
        if hasattr(a, "ndim"):
            require(is_device_array(a), f"{kernel}: {name} lies on the host, the other arrays on a device")
            require(bool(a.flags.c_contiguous), f"{kernel}: {name} is not C-contiguous; use ascontiguousarray")
            if a.device.id != like.device.id:
                raise BackendError(
                    f"{kernel}: {name} lies on device {a.device.id}, other arrays on {like.device.id}; move it there"
                )
    plain = {k: a.data.ptr if hasattr(a, "ndim") else (0 if a is None else a) for k, a in arguments.items()}
    stream = namespace(like).cuda.get_current_stream().ptr
    getattr(_kernels(), kernel)(**plain, device=like.device.id, stream=stream)


def dense(a: Array | None, dtype: type) -> Array | None:
    """a as a C-contiguous array of dtype on its device; None stays None."""
    return None if a is None else namespace(a).ascontiguousarray(a, dtype=dtype)


def workspace(kernel: str, like: Array, **sizes: int) -> Array | None:
    """The bytes that a kernel needs besides its results, on the device of `like`; None if it needs none."""
    count = getattr(_kernels(), f"{kernel}_workspace")(**sizes)
    return namespace(like).empty(count, dtype=np.uint8) if count else None


def _kernels() -> ModuleType:
    return importlib.import_module("varpro._cuda")
