"""CuPy without a GPU, for tests: NumPy arrays behind an interface as strict as that of a device.

What CuPy refuses is refused: an array of the host among device arrays, and a silent copy to the host.  Only names that
varpro uses are here; `NAMES` is compared with the real CuPy where that is installed.
"""

import contextlib
import types

import numpy as np
from cupy import cuda as cuda
from cupy._array import ndarray, unwrap, wrap

NAMES = [
    "abs",
    "any",
    "arange",
    "argmax",
    "ascontiguousarray",
    "broadcast_to",
    "asarray",
    "array",
    "concatenate",
    "copyto",
    "count_nonzero",
    "diagonal",
    "einsum",
    "empty",
    "empty_like",
    "exp",
    "eye",
    "fill_diagonal",
    "full",
    "isfinite",
    "log",
    "matmul",
    "maximum",
    "minimum",
    "moveaxis",
    "multiply",
    "nonzero",
    "ones",
    "ones_like",
    "sqrt",
    "stack",
    "take",
    "tanh",
    "tile",
    "trace",
    "tril",
    "vdot",
    "where",
    "zeros",
    "zeros_like",
    "cos",
    "sin",
]
FROM_HOST = ("asarray", "array")


def _device_function(name):
    function = getattr(np, name)
    if not callable(function) or isinstance(function, type):
        return function

    def call(*arguments, **options):
        lenient = name in FROM_HOST
        plain = [unwrap(a, lenient) for a in arguments]
        named = {k: unwrap(v, lenient) for k, v in options.items()}
        result = function(*plain, **named)
        if name == "asarray" and isinstance(arguments[0], np.ndarray):
            result = result.copy()  # an upload never shares memory
        return wrap(result)

    return call


def __getattr__(name):
    if name in NAMES:
        return _device_function(name)
    raise AttributeError(f"the stand-in for CuPy has no {name}; add it to NAMES if CuPy has it")


def _norm(a, **options):
    return wrap(np.linalg.norm(unwrap(a), **options))


def _factorisation(name):
    return lambda a, **options: wrap(tuple(getattr(np.linalg, name)(unwrap(a), **options)))


linalg = types.SimpleNamespace(norm=_norm, qr=_factorisation("qr"), svd=_factorisation("svd"))


def from_dlpack(a):
    """An array over the same memory."""
    return wrap(np.from_dlpack(a))


def get_default_memory_pool():
    return types.SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)


@contextlib.contextmanager
def errstate(**options):
    yield


def asnumpy(a):
    return a.get()


__all__ = ["NAMES", "asnumpy", "cuda", "errstate", "from_dlpack", "get_default_memory_pool", "linalg", "ndarray"]
