"""Dates and times of day, as seconds from the first of a column."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.tables.notation import Cell

DAY = 86_400
_MONTHS = {
    name: k
    for k, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}
_YEAR_FIRST = r"(?P<year>\d{4})(?P<s>[-/.])(?P<month>\d{1,2})(?P=s)(?P<day>\d{1,2})"
_DAY_FIRST = r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})"
_EITHER = r"(?P<a>\d{1,2})(?P<z>[-/])(?P<b>\d{1,2})(?P=z)(?P<either>\d{4})"
_NAMED = r"(?P<nd>\d{1,2})[- ](?P<name>[A-Za-z]{3})[a-z]*[- ](?P<ny>\d{4})"
_CLOCK = (
    r"(?P<hour>\d{1,3}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?:[.,](?P<fraction>\d+))?"
    r"(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?\s?(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?"
)
_STAMP = re.compile(rf"(?:{_YEAR_FIRST}|{_DAY_FIRST}|{_EITHER}|{_NAMED})?(?:(?:^|[T ,;_]\s*|(?<=\d)\s+){_CLOCK})?")
REMEDY = "set time_format, such as time_format: '%d/%m/%Y %H:%M:%S'"


class Stamps(NamedTuple):
    """A column of time stamps."""

    seconds: Array
    """The seconds from the first stamp, (N,); NaN where the cell is missing."""
    origin: str
    """The first stamp, as written in the file."""
    notes: list[str]


def is_stamp(cell: str, time_format: str | None) -> bool:
    """Whether a cell is a date, a time of day or both."""
    if time_format is not None:
        return _formatted(cell, time_format) is not None
    return len(cell) >= 5 and cell[0].isdigit() and _STAMP.fullmatch(cell) is not None


def seconds_from_first(path: object, cells: Sequence[Cell | None], time_format: str | None) -> Stamps:
    """The seconds of a column from its first stamp; None means a missing cell.  Raises DataError.

    Whole seconds and fractions are kept apart until the first is subtracted, which preserves nanoseconds.
    """
    given = [cell for cell in cells if cell is not None]
    if time_format is None:
        month_first = _month_first(path, given)
        parsed = {id(cell): _parsed(path, cell, month_first) for cell in given}
    else:
        parsed = {id(cell): _by_format(path, cell, time_format) for cell in given}
    kinds = {(value.dated, value.zoned) for value in parsed.values()}
    if len(kinds) > 1:
        odd = next(c for c in given if parsed[id(c)][2:] != parsed[id(given[0])][2:])
        raise DataError(
            f"{path}, line {odd.line}: {odd.text!r} is written in another way than {given[0].text!r} above it; "
            "write all time stamps in one way"
        )
    first = parsed[id(given[0])]
    values = np.full(len(cells), np.nan)
    notes: list[str] = []
    turned, before = 0, first.whole
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        whole, fraction, dated, _ = parsed[id(cell)]
        if not dated and before - whole > DAY // 2:
            turned += DAY
            notes.append(f"line {cell.line}: the clock begins anew, a day is added")
        before = whole
        values[row] = (whole + turned - first.whole) + (fraction - first.fraction)
    return Stamps(values, given[0].text, notes)


class _Parsed(NamedTuple):
    whole: int
    """The whole seconds."""
    fraction: float
    dated: bool
    zoned: bool


def _parsed(path: object, cell: Cell, month_first: bool) -> _Parsed:
    found = _STAMP.fullmatch(cell.text)
    if found is None:
        raise DataError(f"{path}, line {cell.line}: {cell.text!r} is no time stamp as those above; mend it or {REMEDY}")
    part = found.groupdict()
    days = 0
    try:
        day = _date(part, month_first)
        days = 0 if day is None else day.toordinal()
    except ValueError:
        raise DataError(f"{path}, line {cell.line}: {cell.text!r} is no date; mend it or {REMEDY}") from None
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    if part["hour"] is not None and part["second"] is None:
        if part["fraction"] is not None:  # minutes and seconds with a fraction
            hour, minute, second = 0, hour, minute
        elif days == 0:
            raise DataError(
                f"{path}, line {cell.line}: {cell.text!r} may be hours and minutes, or minutes and seconds; "
                "set time_format: '%H:%M' or '%M:%S'"
            )
    if part["half"]:
        hour = hour % 12 + (12 if part["half"] in "pP" else 0)
    if (minute > 59 and part["second"] is not None) or second > 60 or (days and hour > 24):
        raise DataError(f"{path}, line {cell.line}: {cell.text!r} is no time of day; mend it or {REMEDY}")
    whole = days * DAY + hour * 3600 + minute * 60 + second - _offset(part["zone"])
    return _Parsed(whole, float(f"0.{part['fraction'] or 0}"), days > 0, part["zone"] is not None)


def _date(part: dict[str, str | None], month_first: bool) -> date | None:
    def numbers(*names: str) -> tuple[int, ...]:
        return tuple(int(part[name] or 0) for name in names)

    if part["year"]:
        return date(*numbers("year", "month", "day"))
    if part["y"]:
        return date(*numbers("y", "m", "d"))
    if part["ny"]:
        year, day = numbers("ny", "nd")
        return date(year, _MONTHS.get(str(part["name"]).lower(), 0), day)
    if part["either"]:
        year, first, second = numbers("either", "a", "b")
        return date(year, first, second) if month_first else date(year, second, first)
    return None


def _month_first(path: object, cells: Sequence[Cell]) -> bool:
    """Whether 3/1/2024 is the first of March.  Raises DataError if that matters and nothing decides it."""
    firsts, seconds, dates = set[int](), set[int](), set[tuple[str, str, str]]()
    for cell in cells:
        found = _STAMP.fullmatch(cell.text)
        if found is not None and found["either"]:
            firsts.add(int(found["a"]))
            seconds.add(int(found["b"]))
            dates.add((found["a"], found["b"], found["either"]))
    if max(seconds, default=0) > 12:
        return True
    if len(dates) <= 1 or max(firsts) > 12 or firsts == seconds == set():
        return False
    cell = next(c for c in cells if (f := _STAMP.fullmatch(c.text)) is not None and f["either"])
    raise DataError(
        f"{path}, line {cell.line}: {cell.text!r} may begin with the day or with the month; "
        "set time_format, '%d/%m/%Y %H:%M:%S' or '%m/%d/%Y %H:%M:%S'"
    )


def _offset(zone: str | None) -> int:
    """Seconds east of Greenwich."""
    if zone is None or zone in ("Z", "UTC"):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return (1 if zone[0] == "+" else -1) * (hours * 3600 + minutes * 60)


def _formatted(cell: str, time_format: str) -> datetime | None:
    try:
        return datetime.strptime(cell, time_format)
    except ValueError:
        return None


def _by_format(path: object, cell: Cell, time_format: str) -> _Parsed:
    found = _formatted(cell.text, time_format)
    if found is None:
        raise DataError(
            f"{path}, line {cell.line}: {cell.text!r} does not fit time_format {time_format!r}; mend either"
        )
    whole = found.toordinal() * DAY + found.hour * 3600 + found.minute * 60 + found.second
    shift = found.utcoffset()
    dated = any(letter in time_format for letter in ("%d", "%j", "%x", "%c", "%D", "%F"))
    return _Parsed(
        whole - int(shift.total_seconds() if shift else 0), found.microsecond * 1e-6, dated, shift is not None
    )
