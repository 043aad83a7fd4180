"""Requirements on t and y from any kind of file."""

from collections.abc import Callable

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError


def check_t(t: Array, without_y: Array, where: Callable[[int], str]) -> tuple[Array, Array]:
    """(N,) bool, the points to keep, and the numbers of those left out because they have neither t nor y.

    t : (N,).  without_y : (N,) bool.  where : the place of a point, for the message.  Raises DataError for y without t.
    """
    gone = ~np.isfinite(t)
    bad = np.flatnonzero(gone & ~without_y)
    if bad.size:
        more = f" ({bad.size} such points)" if bad.size > 1 else ""
        raise DataError(
            f"{where(int(bad[0]))}: t is {_said(t[bad[0]])}, but y has a value{more}; give t or take the point out"
        )
    if gone.all():
        raise DataError(f"{where(0)}: t has no value at all; name another column or array with columns.t")
    return ~gone, np.flatnonzero(gone)


def _said(value: float) -> str:
    return "missing (NaN)" if np.isnan(value) else f"{value:g}"
