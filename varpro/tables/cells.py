"""What a cell can be: a number in some notation, a word for a missing value, a time stamp, or text."""

import csv
import re
from collections.abc import Callable

from varpro.tables.notation import readings
from varpro.tables.options import TextOptions
from varpro.tables.stamps import is_stamp

NUMBER, MISSING, STAMP, TEXT = "N", "M", "T", "X"
EMPTY_WORDS = frozenset((
    "nan", "na", "n/a", "null", "none", "nil", "nd", "n.d.", "n.a.", "?", "#n/a", "#na", "#div/0!", "#value!",
    "#ref!", "#num!", "#name?", "#null!", "nonumber",
))  # fmt: skip
"""Words for a missing value in spreadsheets and programs, in lower case."""
OVERFLOW_WORDS = frozenset((
    "inf", "∞", "-∞", "+∞", "+inf", "-inf", "infinity", "+infinity", "-infinity", "overflow", "overflw", "ovrflw",
    "ovflw", "over", "overrange", "ovrng", "overload", "ovld", "ovl", "ol", "o.l.", "o.l", "+ol", "-ol", "oor",
    "saturated", "sat", "lod", "bdl", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind", "1.#inf", "-1.#inf", "1.#qnan0",
    "-1.#ind00", "1.#qnb", "1.#j", "-1.#j",
))  # fmt: skip
"""Words of instruments for a value beyond their range, in lower case."""
SCPI = frozenset((9.9e37, -9.9e37, 9.91e37))
"""Overflow and not-a-number in instruments that use SCPI (SCPI-1999, volume 1, 7.2.1.4 and 7.2.1.5)."""
_MARKS = re.compile(r"[-‐-―−_*.…]+")
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
COMMA_FLOAT = re.compile(r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d{1,3})?")
INLINE_COMMENT = re.compile(r"\s(?:#(?!N/A|NA\b|DIV|REF|NUM|VALUE|NAME|NULL)|//).*$")
COMMENTS = ("#", "%", "//", "!")
_FIRST_OF_MARKS = frozenset("#%/!;")


def make_kind(options: TextOptions, delimiter: str | None) -> Callable[[str], str]:
    """kind(cell), which is NUMBER, MISSING, STAMP or TEXT under the options."""
    words = missing_words(options)
    blanks = delimiter in ("\t", ";")

    def kind(cell: str) -> str:
        if cell in words:
            return MISSING
        if (options.decimal != "," and _FLOAT.fullmatch(cell)) or (
            options.decimal != "." and COMMA_FLOAT.fullmatch(cell)
        ):
            return NUMBER
        if is_missing_word(cell):
            return MISSING
        point, comma = readings(cell, blanks=blanks)
        if (point is not None and options.decimal != ",") or (comma is not None and options.decimal != "."):
            return NUMBER
        return STAMP if is_stamp(cell, options.time_format) else TEXT

    return kind


def missing_words(options: TextOptions) -> frozenset[str]:
    """The caller's cells for missing values, as written in the file."""
    return frozenset(entry.strip() for entry in options.missing if isinstance(entry, str))


def missing_numbers(options: TextOptions) -> frozenset[float]:
    """Numbers that mean a missing value: the caller's, those among the caller's words, and those of SCPI."""
    numbers = {float(entry) for entry in options.missing if not isinstance(entry, str)}
    words = {float(entry) for entry in missing_words(options) if _FLOAT.fullmatch(entry)}
    return frozenset(numbers | words) | SCPI


def is_missing_word(cell: str) -> bool:
    """Whether a cell is empty, a word for a missing value, or consists only of dashes, stars or dots."""
    word = cell.lower()
    return not word or word in EMPTY_WORDS or word in OVERFLOW_WORDS or _MARKS.fullmatch(cell) is not None


def split(line: str, delimiter: str | None) -> list[str]:
    """The cells of a line, without surrounding blanks and quotes; None splits at runs of blanks."""
    if '"' not in line:
        return line.split() if delimiter is None else [cell.strip() for cell in line.split(delimiter)]
    if delimiter is None:
        return [(quoted or plain).strip() for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except (csv.Error, StopIteration):
        return [cell.strip().strip('"') for cell in line.split(delimiter)]


def comment_mark(line: str, delimiter: str | None, options: TextOptions) -> str | None:
    """The mark that makes a line a comment, or None.  #N/A is a missing value, not a comment."""
    text = line.lstrip()
    if not options.comment and text[:1] not in _FIRST_OF_MARKS:
        return None
    marks = (*options.comment, *COMMENTS, *(() if delimiter == ";" else (";",)))
    mark = next((m for m in marks if text.startswith(m)), None)
    if mark == "#":
        first = split(text, delimiter)[:1]
        return None if first and first[0].lower() in EMPTY_WORDS else mark
    return mark
