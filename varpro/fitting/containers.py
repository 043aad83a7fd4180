"""The containers that people keep numbers in, turned into plain arrays and a mask of the missing numbers.

A masked array, a None among numbers and pandas' NA all say that there is no value here.  All end up in one mask.
"""

import decimal
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from varpro.arrays import Array, ArrayLike, is_device_array, to_host
from varpro.errors import ShapeError

ABSENT = ("NAType", "NaTType")
"""Types of pandas that stand for a missing value."""


def plain_array(given: ArrayLike, name: str) -> tuple[Array, Array | None]:
    """An array of the caller's numbers, and where they are missing (bool of its shape; None if none is).

    given : array, list, masked array, Series, DataArray, array on a CUDA device.  Objects become float64 or complex128,
    missing ones NaN; an array of anything but numbers keeps its dtype, for the caller to refuse in its own words.
    The result may alias `given`.  Raises ShapeError for rows of different lengths.
    """
    if is_device_array(given):
        given = to_host(given)
    elif isinstance(given, (list, tuple)):
        given = _listed(given)
    if isinstance(given, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(given)
        array, absent = plain_array(given.data, name)
        return array, _either(masked if masked.any() else None, absent)
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ShapeError(f"{name} is no array ({error}); its rows need the same length") from error
    except TypeError as error:  # an xarray Dataset, among others
        kind = type(given).__name__
        raise ShapeError(f"{name} is a {kind}, which is no array; give one of its variables") from error
    return _of_numbers(array) if array.dtype.kind == "O" else (array, None)


def _listed(given: Sequence[Any]) -> ArrayLike:
    """A list whose device arrays are on the host; a masked array where its items are masked."""
    items = [to_host(item) if is_device_array(item) else item for item in given]
    if any(item is np.ma.masked for item in items):
        return np.array([None if item is np.ma.masked else item for item in items], dtype=object)
    return np.ma.array(items) if any(isinstance(item, np.ma.MaskedArray) for item in items) else items


def _of_numbers(objects: Array) -> tuple[Array, Array | None]:
    """Python numbers as float64 or complex128, NaN where one is missing; the objects themselves if one is no number."""
    flat, absent = objects.ravel().tolist(), np.zeros(objects.size, dtype=bool)
    values: list[complex] = []
    for i, item in enumerate(flat):
        absent[i] = is_absent(item)
        if absent[i]:
            values.append(np.nan)
        elif isinstance(item, numbers.Complex) and not isinstance(item, numbers.Real):
            values.append(complex(item))
        elif isinstance(item, numbers.Real | decimal.Decimal):
            values.append(float(item))
        else:
            return objects, None
    return np.array(values).reshape(objects.shape), absent.reshape(objects.shape) if absent.any() else None


def is_absent(item: object) -> bool:
    """Whether an object stands for a missing value."""
    return item is None or item is np.ma.masked or type(item).__name__ in ABSENT


def _either(one: Array | None, other: Array | None) -> Array | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other
