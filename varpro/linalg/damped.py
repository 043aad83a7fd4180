"""Damped symmetric positive definite systems, solved on a copy so that the matrix survives a rejected step."""

from varpro.arrays import Array, beside, to_host
from varpro.kernels import gauss_newton as kernel


def damped_step(h: Array, diagonal: Array, damping: Array, rhs: Array, *, single: bool = False) -> tuple[Array, Array]:
    """(H + lambda diag(d)) s = rhs for b problems by Cholesky.

    h : (b, P, P) float64, lower triangle; not modified.  diagonal, rhs : (b, P).  damping : (b,).
    single : factor in float32 and refine to 1e-10 in float64; worthwhile if h itself is no more accurate.
    All arrays except damping are on one side, host or device.  Returns s (b, P), zero where the factorisation broke
    down, and solved (b,) bool on the host.
    """
    step, info = kernel.damped_solve(h, diagonal, damping, rhs, single=single)
    solved = to_host(info) == 0
    if not solved.all():
        step[beside(~solved, step)] = 0.0
    return step, solved
