"""The array of the stand-in."""

import types
from typing import ClassVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


def unwrap(value, lenient=False):
    """The NumPy array behind a device array; one of the host is refused as CuPy refuses it."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.ndarray) and not lenient:
        raise TypeError(f"Unsupported type {type(value)}: an array of the host, {value.shape}, among device arrays")
    if isinstance(value, list | tuple):
        return type(value)(unwrap(v, lenient) for v in value)
    return value


def wrap(value):
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    if isinstance(value, tuple):
        return tuple(wrap(v) for v in value)
    return value


def _forward(name):
    def method(self, *arguments, **options):
        plain = [unwrap(a) for a in arguments]
        return wrap(getattr(self._a, name)(*plain, **{k: unwrap(v) for k, v in options.items()}))

    return method


class ndarray(NDArrayOperatorsMixin):
    __slots__ = ("_a", "device")
    __module__ = "cupy"
    fetched: ClassVar[list[int]] = []
    """Sizes of the arrays that were copied to the host."""

    def __init__(self, a):
        self._a, self.device = a, types.SimpleNamespace(id=0, synchronize=lambda: None)

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [unwrap(i) for i in inputs]
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(unwrap(o) for o in out)
        result = getattr(ufunc, method)(*plain, **options)
        return out[0] if out is not None and len(out) == 1 else wrap(result)

    def __array_function__(self, function, _, arguments, options):
        return wrap(function(*unwrap(list(arguments)), **{k: unwrap(v) for k, v in options.items()}))

    def get(self):
        self.fetched.append(self._a.size)
        return self._a.copy()

    def __dlpack__(self, **options):
        return self._a.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._a.__dlpack_device__()

    def item(self):
        return self._a.item()

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self._a.ctypes.data)

    def __getitem__(self, key):
        return ndarray(np.asarray(self._a[unwrap(key)]))

    def __setitem__(self, key, value):
        self._a[unwrap(key)] = unwrap(value)

    def __len__(self):
        return len(self._a)

    def __float__(self):
        return float(self._a)

    def __int__(self):
        return int(self._a)

    def __bool__(self):
        return bool(self._a)

    def __repr__(self):
        return f"stand_in.{self._a!r}"

    @property
    def T(self):
        return ndarray(self._a.T)

    @property
    def mT(self):
        return ndarray(np.swapaxes(self._a, -1, -2))


for _name in ("shape", "ndim", "dtype", "size", "nbytes", "itemsize", "strides", "flags"):
    setattr(ndarray, _name, property(lambda self, name=_name: getattr(self._a, name)))
METHODS = "reshape ravel copy astype sum max min any all mean std argmax argmin transpose swapaxes view"
for _name in METHODS.split():
    setattr(ndarray, _name, _forward(_name))
