"""The array of the stand-in."""

import importlib
import types
from typing import ClassVar

import numpy as np
from cupy._names import FUNCTIONS, METHODS, OPERATORS
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


def accepted(name, parameters, arguments, options):
    """Refuse arguments that CuPy's function of this name does not have."""
    known = parameters.split()
    if "*" not in known and len(arguments) > len(known):
        raise TypeError(f"{name}() takes {len(known)} positional arguments ({len(arguments)} given)")
    strange = set(options) - set(known)
    if strange and "**" not in known:
        raise TypeError(f"{name}() got an unexpected keyword argument {strange.pop()!r}")


def _forward(name, parameters):
    def method(self, *arguments, **options):
        accepted(name, parameters, arguments, options)
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
        if method != "__call__" or ufunc.__name__ not in (*FUNCTIONS, *OPERATORS):
            return NotImplemented  # no reduce, no outer
        plain = [unwrap(i) for i in inputs]
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(unwrap(o) for o in out)
        result = getattr(ufunc, method)(*plain, **options)
        return out[0] if out is not None and len(out) == 1 else wrap(result)

    def __array_function__(self, function, _, arguments, options):
        """CuPy's function of that name, in its module of that name."""
        place = importlib.import_module("cupy")
        try:
            for part in (*function.__module__.split(".")[1:], function.__name__):
                place = getattr(place, part)
        except AttributeError:
            return NotImplemented
        return place(*arguments, **options)

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
    def real(self):
        return ndarray(self._a.real)

    @property
    def imag(self):
        return ndarray(self._a.imag)

    @property
    def mT(self):
        return ndarray(np.swapaxes(self._a, -1, -2))


for _name in ("shape", "ndim", "dtype", "size", "nbytes", "itemsize", "strides", "flags"):
    setattr(ndarray, _name, property(lambda self, name=_name: getattr(self._a, name)))
for _name, _parameters in METHODS.items():
    if _name not in vars(ndarray):
        setattr(ndarray, _name, _forward(_name, _parameters))
