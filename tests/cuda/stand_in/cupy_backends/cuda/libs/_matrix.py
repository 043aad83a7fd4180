"""Matrices in column-major storage behind an address."""

import ctypes

import numpy as np

TYPES = {np.dtype(np.float64): ctypes.c_double, np.dtype(np.float32): ctypes.c_float}


def matrix(address, rows, columns, leading, dtype):
    """A writable (rows, columns) view."""
    dtype = np.dtype(dtype)
    assert leading >= max(rows, 1), f"leading dimension {leading} for {rows} rows"
    count = leading * (columns - 1) + rows if columns else 0
    flat = np.ctypeslib.as_array((TYPES[dtype] * max(count, 1)).from_address(address))
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (dtype.itemsize, leading * dtype.itemsize))


def scalar(address, dtype):
    return matrix(address, 1, 1, 1, dtype)[0, 0]


def addresses(address, count):
    return list((ctypes.c_uint64 * count).from_address(address))


def integers(address, count):
    return np.ctypeslib.as_array((ctypes.c_int32 * count).from_address(address))
