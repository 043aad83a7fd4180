"""CuPy without a GPU, for tests: NumPy arrays behind an interface as strict as that of a device.

What CuPy refuses is refused: an array of the host among device arrays, a silent copy to the host, and every function or
option that CuPy does not have (_names.py).
"""

import types

import numpy as np
from cupy import cuda as cuda
from cupy._array import accepted, ndarray, unwrap, wrap
from cupy._names import FUNCTIONS, LINALG

__version__ = "14.0"
FROM_HOST = ("asarray", "array")


def _device_function(name, module, parameters):
    function = getattr(module, name)

    def call(*arguments, **options):
        accepted(name, parameters, arguments, options)
        lenient = name in FROM_HOST
        plain = [unwrap(a, lenient) for a in arguments]
        named = {k: unwrap(v, lenient) for k, v in options.items()}
        result = function(*plain, **named)
        if name == "asarray" and isinstance(arguments[0], np.ndarray):
            result = result.copy()  # an upload never shares memory
        return wrap(tuple(result) if isinstance(result, tuple) else result)

    return call


def __getattr__(name):
    if name in FUNCTIONS:
        return _device_function(name, np, FUNCTIONS[name])
    raise AttributeError(f"the stand-in for CuPy has no {name}; add it to FUNCTIONS if CuPy has it")


linalg = types.SimpleNamespace(**{n: _device_function(n, np.linalg, known) for n, known in LINALG.items()})


def from_dlpack(array):
    """An array over the same memory."""
    return wrap(np.from_dlpack(array))


def get_default_memory_pool():
    return types.SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)


__all__ = ["cuda", "from_dlpack", "get_default_memory_pool", "linalg", "ndarray"]
