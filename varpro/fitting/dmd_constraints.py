"""Constraints on the eigenvalues of an optimised DMD, as bounds, fixed and tied parameters of the fit.

    stable      Re lambda_j <= 0                 a bound
    imaginary   Re lambda_j = 0                  fixed
    conjugate   lambda_j = conj lambda_k         the second of a pair follows the first; Im lambda = 0 without a partner

So the fit is the least-squares one among those allowed.  The pairs are those of the starting eigenvalues.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError

CONSTRAINTS = ("stable", "imaginary", "conjugate")
REAL = 1e-8
"""Largest imaginary part of a real eigenvalue, as a share of the largest eigenvalue."""


def checked_constraints(given: str | Iterable[str] | None, options: Mapping[str, object]) -> frozenset[str]:
    """The constraints asked for.  Raises ConfigError for others, or beside options that they are made of."""
    one = isinstance(given, str) or not isinstance(given, Iterable)
    listed: list[Any] = [] if given is None else [given] if one else list(given)
    for name in listed:
        if name not in CONSTRAINTS:
            raise ConfigError(f"constraints: {name!r} is none of {', '.join(CONSTRAINTS)}")
    asked = frozenset(listed)
    if {"stable", "imaginary"} <= asked:
        raise ConfigError("constraints: imaginary eigenvalues are neither stable nor unstable; leave 'stable' out")
    taken = [name for name in ("bounds", "fixed", "tied") if options.get(name) is not None]
    if asked and taken:
        raise ConfigError(f"constraints and {taken[0]}= exclude each other; write all of it in bounds, fixed and tied")
    return asked


def constrained(asked: frozenset[str], start: Array) -> tuple[Array, dict[str, object]]:
    """The starting eigenvalues (r,) moved to where they are allowed, and the options of `varpro.fit` for the rest."""
    if not asked:
        return start, {}
    start, fixed, tied = start.copy(), {}, {}
    if "stable" in asked:
        start.real = np.minimum(start.real, 0.0)
    if "imaginary" in asked:
        start.real = 0.0
        fixed = {f"w_{j}.real": 0.0 for j in range(len(start))}
    if "conjugate" in asked:
        pairs = _pairs(start)
        for first, second in pairs:
            start[first] = 0.5 * (start[first] + start[second].conj())
            start[second] = start[first].conj()
            tied[f"w_{second}.imag"] = (f"w_{first}.imag", -1.0)
            if "imaginary" not in asked:
                tied[f"w_{second}.real"] = (f"w_{first}.real", 1.0)
        for alone in set(range(len(start))) - {j for pair in pairs for j in pair}:
            start[alone] = start[alone].real
            fixed[f"w_{alone}.imag"] = 0.0
    bounds = {f"w_{j}.real": (None, 0.0) for j in range(len(start))} if "stable" in asked else None
    return start, {"bounds": bounds, "fixed": fixed or None, "tied": tied or None}


def _pairs(values: Array) -> list[tuple[int, int]]:
    """The pairs among eigenvalues (r,) that are conjugate, or nearest to it: those with the least sum of distances."""
    least = REAL * float(np.abs(values).max(initial=0.0))
    above, below = np.flatnonzero(values.imag > least), np.flatnonzero(values.imag < -least)
    away = np.abs(values[above][:, None] - values[below].conj())
    return [(int(above[i]), int(below[k])) for i, k in zip(*scipy.optimize.linear_sum_assignment(away), strict=True)]
