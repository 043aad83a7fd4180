"""Which number a cell means: the decimal sign, groups of thousands, exponents.

"1,5" and "1.234,5" have a decimal comma, "1.5" and "1,234.5" a decimal point; "6,408" may be either.  The sign is
decided once for all cells of a file, from the cells that leave no choice; if there are none, the file is rejected.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from varpro.errors import DataError

_SPACES = re.compile(r"(?<=\d)[\u00a0\u2007\u2009\u202f'’](?=\d{3}(?:\D|$))")
_PLAIN_SPACES = re.compile(r"(?<=\d) (?=\d{3}(?:\D|$))")
_DASHED = str.maketrans({"−": "-", "–": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "\u00a0": " ", "＋": "+"})
_SIMPLE = re.compile(r"[\d.,+\-eE]*")
_WHOLE = re.compile(r"([+-]?)\s?([\d.,]+)(?:[eEdD]([+-]?\d{1,3}))?")
_PLAIN = {".": re.compile(r"\d+\.?\d*|\.\d+"), ",": re.compile(r"\d+(?:,\d+)?|,\d+")}
_GROUPED = {
    ".": re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"),
    ",": re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?"),
}
_LONG = re.compile(r"[+-]?\d{4,}")


class Cell(NamedTuple):
    """A cell of a table and its place, for messages."""

    line: int
    column: int
    text: str


def readings(cell: str, *, blanks: bool = False) -> tuple[float | None, float | None]:
    """The number with a decimal point, and with a decimal comma; None where the cell is not such a number.

    blanks : an ordinary blank may separate thousands, as in "1 234,5" between tabs or semicolons.
    """
    text = cell
    if not _SIMPLE.fullmatch(cell):
        text = _SPACES.sub("", cell)
        text = (_PLAIN_SPACES.sub("", text) if blanks else text).translate(_DASHED)
    found = _WHOLE.fullmatch(text)
    if found is None:
        return None, None
    sign, mantissa, exponent = found.groups()
    return _value(sign, mantissa, exponent, "."), _value(sign, mantissa, exponent, ",")


def _value(sign: str, mantissa: str, exponent: str | None, decimal: str) -> float | None:
    other = "," if decimal == "." else "."
    if _PLAIN[decimal].fullmatch(mantissa):
        plain = mantissa.replace(",", ".") if decimal == "," else mantissa
    elif exponent is None and _GROUPED[decimal].fullmatch(mantissa):
        plain = mantissa.replace(other, "").replace(",", ".")
    else:
        return None
    return float(f"{sign}{plain}e{exponent or 0}")


def decimal_sign(path: object, columns: Iterable[list[Cell]], delimiter: str | None) -> tuple[str, list[str]]:
    """The decimal sign of a file, from the cells of its columns of numbers, and notes on groups of thousands.

    Raises DataError if cells contradict each other, or if none shows the sign.
    """
    signs: dict[str, Cell] = {}
    doubtful: dict[str, Cell] = {}
    mixed: dict[str, tuple[Cell, Cell]] = {}
    ungrouped: dict[str, tuple[Cell, Cell]] = {}
    for cells in columns:
        found = _evidence(cells, blanks=delimiter in ("\t", ";"))
        signs = found.definite | signs
        doubtful = found.doubtful | doubtful
        mixed = {sign: (cell, found.whole) for sign, cell in found.doubtful.items() if found.whole} | mixed
        ungrouped = {sign: (cell, found.long) for sign, cell in found.doubtful.items() if found.long} | ungrouped
    if len(signs) == 2:
        point, comma = signs["."], signs[","]
        raise DataError(
            f"{path}: {comma.text!r} in line {comma.line} has a decimal comma, {point.text!r} in line {point.line} a "
            "decimal point; write all numbers in one way, or leave one of the columns out with columns"
        )
    if signs:
        (sign,) = signs
        other = "," if sign == "." else "."
        if other in ungrouped:
            raise _ambiguous(path, *ungrouped[other])
        return sign, _told(doubtful.get(other), sign)
    if "," in doubtful:
        raise _ambiguous(path, doubtful[","])
    if "." in mixed and delimiter != "," and "." not in ungrouped:
        raise _ambiguous(path, *mixed["."])
    if "." in doubtful and delimiter == ";":
        raise _ambiguous(path, doubtful["."])
    return ".", []


class _Evidence(NamedTuple):
    """What the cells of one column show."""

    definite: dict[str, Cell]
    """A cell for each decimal sign that some cell must have."""
    doubtful: dict[str, Cell]
    """A cell for each separator that is the only one in its cell and may mean either."""
    whole: Cell | None
    """A whole number below 1,000 other than 0."""
    long: Cell | None
    """A whole number of four digits or more without groups, which a column with groups would not contain."""


def _evidence(cells: Iterable[Cell], *, blanks: bool) -> _Evidence:
    definite: dict[str, Cell] = {}
    doubtful: dict[str, Cell] = {}
    whole = long = None
    for cell in cells:
        if "," not in cell.text and "." not in cell.text:
            if _LONG.fullmatch(cell.text):
                long = long or cell
            elif cell.text.strip("+-0"):
                whole = whole or cell
            continue
        point, comma = readings(cell.text, blanks=blanks)
        if point is not None and comma is not None:
            doubtful.setdefault("," if "," in cell.text else ".", cell)
        elif point is not None:
            definite.setdefault(".", cell)
        elif comma is not None:
            definite.setdefault(",", cell)
    return _Evidence(definite, doubtful, whole, long)


def _ambiguous(path: object, cell: Cell, beside: Cell | None = None) -> DataError:
    values = "{:g} or {:g}".format(*sorted(value for value in readings(cell.text) if value is not None))
    more = f" ({beside.text!r} stands in the same column, line {beside.line})" if beside else ""
    return DataError(
        f"{path}, line {cell.line}, column {cell.column}: {cell.text!r} may be {values}{more}; "
        "set decimal: '.' or decimal: ','"
    )


def _told(cell: Cell | None, sign: str) -> list[str]:
    if cell is None:
        return []
    value = readings(cell.text)[0 if sign == "." else 1]
    words = {".": "the decimal sign is a point, commas separate", ",": "the decimal sign is a comma, points separate"}
    return [f"{words[sign]} thousands (line {cell.line}: {cell.text!r} is {value:.12g})"]
