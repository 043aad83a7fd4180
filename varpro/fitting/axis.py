"""The points t as the model gets them: float64, times in seconds, and no gaps where a row is left out.

datetime64, datetime      seconds from the first time
timedelta64, timedelta    seconds
"""

import datetime
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, ArrayLike
from varpro.errors import DataError
from varpro.fitting.containers import is_absent, plain_array

SECOND = np.timedelta64(1, "s")
MOMENTS, SPANS = (datetime.date, np.datetime64), (datetime.timedelta, np.timedelta64)


@dataclass(frozen=True)
class Clock:
    """How times were turned into numbers, so that later times can be converted the same way."""

    origin: np.datetime64 | None
    """The moment of t = 0; None for time spans, which need no origin."""

    def seconds(self, times: Array) -> Array:
        """float64 from datetime64 or timedelta64 of any shape; NaN for NaT.  Raises DataError for the other kind."""
        moments = times.dtype.kind == "M"
        if moments != (self.origin is not None):
            kinds = ("moments", "spans of time") if moments else ("spans of time", "moments")
            raise DataError(f"t holds {kinds[0]}, the fit's t held {kinds[1]}; give t as it was given to the fit")
        try:
            spans = times - self.origin if self.origin is not None else times
            return np.asarray(np.where(np.isnat(spans), np.nan, spans / SECOND), dtype=np.float64)
        except TypeError as error:
            raise DataError(f"t has dtype {times.dtype}, which has no length in seconds; give t as numbers") from error


def make_axis(t: ArrayLike) -> tuple[Array, Array | None, Clock | None]:
    """t as numbers (a copy), which of them are missing, and the clock if t consists of times.

    Real numbers become float64, complex ones complex128; a structured array of several predictors is kept.
    Raises DataError for text and other objects.
    """
    array, absent = plain_array(t, "t")
    times = _as_times(array)
    if times is not None:
        known = np.flatnonzero(~np.isnat(times.ravel()))
        first = times.ravel()[known[0]] if len(known) and times.dtype.kind == "M" else np.datetime64(0, "s")
        clock = Clock(first if times.dtype.kind == "M" else None)
        return clock.seconds(times), absent, clock
    return _as_numbers(array), absent, None


def on_axis(t: ArrayLike, clock: Clock | None) -> Array:
    """Other points, as numbers on the axis of a fit: times by its clock, numbers unchanged."""
    array, _ = plain_array(t, "t")
    array = np.atleast_1d(array)  # a single point
    times = _as_times(array)
    if times is None:
        return _as_numbers(array)
    if clock is None:
        raise DataError("t holds times, the fit's t held numbers; give t as it was given to the fit")
    return clock.seconds(times)


def _as_numbers(array: Array) -> Array:
    kind = array.dtype.kind
    if kind == "V":
        return array.copy()
    if kind not in "fciub":
        raise DataError(
            f"t has dtype {array.dtype}; it needs numbers or times: convert text with numpy.asarray(t, dtype=float), "
            "dates with numpy.asarray(t, dtype='datetime64')"
        )
    return np.array(array, dtype=np.complex128 if kind == "c" else np.float64, order="C")


def _as_times(array: Array) -> Array | None:
    """datetime64 or timedelta64, whichever the array or its objects are; None for neither."""
    if array.dtype.kind in "Mm":
        months = np.datetime_data(array.dtype)[0] in ("Y", "M")  # no fixed length, but each begins at a definite second
        return array.astype("datetime64[s]") if months and array.dtype.kind == "M" else array
    if array.dtype.kind != "O" or not array.size:
        return None
    given = [item for item in array.ravel().tolist() if not is_absent(item)]
    for kinds, nothing in ((MOMENTS, np.datetime64("NaT", "us")), (SPANS, np.timedelta64("NaT", "us"))):
        if given and all(isinstance(item, kinds) for item in given):
            items = [nothing if is_absent(item) else _numpy_time(item) for item in array.ravel().tolist()]
            return _as_times(np.array(items).reshape(array.shape))
    return None


def _numpy_time(item: datetime.date | datetime.timedelta | np.generic) -> object:
    """A NumPy time from a date or time span of Python or pandas; moments with a time zone are converted to UTC."""
    if hasattr(item, "asm8"):
        return item.asm8
    if isinstance(item, datetime.datetime):
        at = item if item.tzinfo is None else item.astimezone(datetime.UTC).replace(tzinfo=None)
        return np.datetime64(at, "us")
    if isinstance(item, np.generic):
        return item
    return np.datetime64(item) if isinstance(item, datetime.date) else np.timedelta64(item)


def filled(t: Array, known: Array) -> Array:
    """t (B, N, ...) with finite values in the rows that are left out of the fit: those not known (B, N).

    Where t is one real number per row they are interpolated, so that an even grid stays even; otherwise they copy the
    nearest known row.  A problem without any known row takes those of the first problem that has one.  t is changed.
    """
    complete = known.any(axis=1)
    for b in np.flatnonzero(complete & ~known.all(axis=1)):
        rows, here = np.flatnonzero(known[b]), np.flatnonzero(~known[b])
        if t.ndim == 2 and t.dtype.kind == "f":
            t[b, here] = np.interp(here, rows, t[b, rows])
        else:
            place = np.clip(np.searchsorted(rows, here), 1, max(len(rows) - 1, 1)) - 1
            nearer = rows[np.minimum(place + 1, len(rows) - 1)]
            t[b, here] = t[b, np.where(np.abs(nearer - here) < np.abs(rows[place] - here), nearer, rows[place])]
    if not complete.all():
        t[~complete] = t[int(np.argmax(complete))] if complete.any() else 0.0
    return t
