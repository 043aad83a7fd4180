"""In-place updates of large arrays, without a temporary of their size; on the host or a device."""

import scipy.linalg

from varpro.arrays import Array, is_device_array
from varpro.kernels import vendor


def add_scaled(out: Array, factor: float, a: Array) -> Array:
    """out + factor a, for arrays of one shape; in place if both are C-contiguous float64."""
    if is_device_array(out):
        out += factor * a
        return out
    return scipy.linalg.blas.daxpy(a.ravel(), out.ravel(), a=factor).reshape(out.shape)


def subtract_transposed(out: Array, a: Array, b: Array) -> Array:
    """out - a^T b for out (n, m), a (k, n) and b (k, m), float64; in place if out is C-contiguous."""
    if is_device_array(out):
        vendor.subtract_transposed(out, *(x if x.flags.c_contiguous else x.copy() for x in (a, b)))
        return out
    return scipy.linalg.blas.dgemm(-1.0, b.T, a.T, trans_b=True, beta=1.0, c=out.T, overwrite_c=True).T
