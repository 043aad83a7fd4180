"""The lines around the rows of a table: names, units, preamble, footer; what is noted, and what is rejected."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from varpro.errors import DataError
from varpro.tables.cells import MISSING, NUMBER, STAMP, TEXT, comment_mark, make_kind, split
from varpro.tables.layout import Body, Row
from varpro.tables.notation import readings
from varpro.tables.options import TextOptions

HEADER_ROWS = 4
"""Most header rows: names, units, comments and one more, as Origin and plate readers write them."""
SMALL_BLOCK = 3
"""Most rows of numbers before a line of text that count as a preamble, not a table."""
SHOWN = 40
_SYMBOL = (
    r"(?:da|[afpnuµμmcdhkKMGT])?(?:s|V|A|m|Hz|Pa|W|J|K|F|H|Ω|S|g|mol|M|[lL]|eV|T|N|rad|sr|B|bar|Torr|C|cd|lm|lx|Bq|Gy|"
    r"ohms?|volts?|amp(?:ere)?s?|hertz|met(?:er|re)s?|watts?|joules?|kelvin|pascals?)"
)
_WORD = (
    r"s(?:ec(?:ond)?s?)?|sekunden?|sek|min(?:ute)?s?|h(?:r|our)?s?|d(?:ay)?s?|°\s?[CFK]?|deg(?:[CFK]|rees?)?|celsius|"
    r"c(?:oun)?ts?|cps|kcps|hits|photons?|a\.?\s?u\.?|arb\.?\s?(?:u(?:nits?)?\.?)?|abs|OD|RFU|RLU|%|‰|ppm|ppb|pH|"
    r"dB[mVµ]?|px|pixels?|sequence|1|-|none|unitless|volts?|Å|angstroms?|milli\w+|micro\w+|"
    r"nano\w+|pico\w+|kilo\w+|mega\w+"
)
_FACTOR = rf"(?:1|(?:{_SYMBOL}|{_WORD})(?:\^?[-−+]?\d|[²³⁻¹]+)?)"
_UNIT = re.compile(rf"[\[(]?\s*{_FACTOR}(?:\s?[/·*.]\s?{_FACTOR}|\s{_FACTOR})*\s*[\])]?|[\[(].*[\])]", re.IGNORECASE)


@dataclass
class Header:
    """What the text lines of a table say."""

    names: list[str] = field(default_factory=list)
    """One name for each column, or none."""
    rows: list[list[str]] = field(default_factory=list)
    """Every line that names columns, the lowest first: names, units, comments."""
    notes: list[str] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    """The lines among the rows at which the header is repeated."""
    used: list[int] = field(default_factory=list)
    """The lines of names and units."""
    narrow: Row | None = None
    """A line above the rows with fewer names than there are columns."""


def read_header(path: Path, body: Body, options: TextOptions) -> Header:
    """Names and notes; takes rows of a preamble out of the body.  Raises DataError for a line that is not clearly
    text."""
    if not body.rows:
        raise DataError(f"{path}: holds a header, but no data; it needs lines of numbers")
    _drop_first_blocks(path, body)
    _refuse_counts(path, body)
    _check_edges(path, body, options)
    header = _names(body, options)
    _check_between(path, body, options, header)
    _tell(body, header)
    return header


def _names(body: Body, options: TextOptions) -> Header:
    first = body.rows[0][0]
    above = [(line, cells, False) for line, cells in body.others if line < first]
    for line, text in body.comments:
        if line < first:
            words = text.lstrip().removeprefix(comment_mark(text, body.delimiter, options) or "").lstrip("#%/!; ")
            above.append((line, _comment_words(words, body), True))
    found: list[Row] = []
    header = Header()
    below = first
    for line, cells, comment in sorted(above, key=lambda entry: -entry[0]):
        named = _as_wide(cells, body)
        if named is None and not comment and body.delimiter is None:
            named = _as_wide(_comment_words(body.texts.get(line, ""), body), body)
        if named is None:
            if comment:
                continue
            if not found and 1 < len(_trimmed(cells)) < body.width and not any(_is_number(c, options) for c in cells):
                header.narrow = (line, _trimmed(cells))
            break
        if found and below - line > 1:
            break
        found.append((line, named))
        below = line
        if len(found) == HEADER_ROWS:
            break
    header.rows = [cells for _, cells in found]
    typed = [j for j, k in enumerate(body.kinds) if k in (NUMBER, STAMP)]
    units = next((i for i, cells in enumerate(header.rows) if _are_units(cells, typed)), None)
    used = [found[0][0]] if found else []
    if units is not None and units + 1 < len(header.rows):
        header.names = header.rows[units + 1]
        used = [found[units][0], found[units + 1][0]]
        shown = ", ".join(header.rows[units][j] or "-" for j in typed[:6])
        header.notes.append(f"line {found[units][0]} holds units ({shown})")
    elif header.rows:
        header.names = header.rows[0]
    else:
        _names_of_numbers(body, header)
    header.used = used
    return header


def _names_of_numbers(body: Body, header: Header) -> None:
    """Use a first row with an empty corner and an axis of numbers as names, as for wavelengths above spectra."""
    line, cells = body.rows[0]
    values = [readings(cell)[0] for cell in cells[1:]]
    known = [value for value in values if value is not None]
    rising = all(b > a for a, b in pairwise(known)) or all(b < a for a, b in pairwise(known))
    if not cells[0] and body.rows[1:] and body.rows[1][1][0] and len(known) == len(values) > 1 and rising:
        header.names, header.rows, body.rows = cells, [cells], body.rows[1:]
        header.notes.append(f"line {line} ({shown(cells)}) read as names, its first cell being empty")


def _comment_words(words: str, body: Body) -> list[str]:
    """The words of a comment, split by the rows' delimiter or by one that gives as many words as there are columns."""
    tries = [split(words, body.delimiter), split(words, ","), split(words, "\t"), re.split(r"\s{2,}", words.strip())]
    return next((t for t in [*tries, split(words, None)] if _as_wide(t, body) is not None), tries[0])


def _trimmed(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _as_wide(cells: list[str], body: Body) -> list[str] | None:
    """A name for each column, if the line has as many cells or differs only by empty columns."""
    count = len(_trimmed(cells))
    full = max((j + 1 for j, k in enumerate(body.kinds) if k != MISSING), default=0)
    fits = full <= count <= (body.width if body.delimiter is None else count)
    if count < 1 or not (fits or len(cells) == body.width):
        return None
    return (cells + [""] * body.width)[: body.width]


def _are_units(cells: list[str], typed: list[int]) -> bool:
    given = [cells[j] for j in typed if cells[j]]
    return bool(given) and all(_UNIT.fullmatch(cell) is not None for cell in given)


def _is_number(cell: str, options: TextOptions) -> bool:
    return make_kind(options, "\t")(cell) == NUMBER


def _drop_first_blocks(path: Path, body: Body) -> None:
    """Treat a few rows of numbers above a line of text as a preamble, and reject them above a comment."""
    first, total = body.rows[0][0], len(body.rows)
    for line, _ in body.others:
        rows = [row for row in body.rows if row[0] < line]
        if line > first and rows and len(rows) <= SMALL_BLOCK and 20 * len(rows) < total:
            body.others = sorted([*body.others, *rows])
            body.rows = body.rows[len(rows) :]
            return
    for line, _ in body.comments:
        rows = [row for row in body.rows if row[0] < line]
        if line > first and rows and len(rows) <= SMALL_BLOCK and 20 * len(rows) < total:
            raise DataError(
                f"{path}: line {rows[0][0]} ({shown(rows[0][1])}) may be a first row of the table or belong to the "
                f"comments around it; set skip_rows: {body.rows[len(rows)][0] - 1}, or take out line {line}"
            )


def _refuse_counts(path: Path, body: Body) -> None:
    """Raise DataError for a first row with the numbers of rows and columns, with which some programs begin a table."""
    (line, cells), *rest = body.rows
    if len(rest) < 2 or any(above < line for above, _ in (*body.others, *body.comments)):
        return
    counts = [cell for cell in cells if cell.isdigit()]
    if len(counts) == len(cells) > 1 and int(counts[0]) == len(rest) and int(counts[1]) in (body.width, body.width - 1):
        raise DataError(
            f"{path}, line {line}: {shown(cells)} may be a row of the table or its size; set skip_rows: {line} to "
            "leave it out, or put a line of names above it"
        )


def _check_edges(path: Path, body: Body, options: TextOptions) -> None:
    """Raise DataError for a line above or below the rows that looks like a row with a mistake."""
    kind = make_kind(options, body.delimiter)
    first, last = body.rows[0][0], body.rows[-1][0]
    key = next(j for j, k in enumerate(body.kinds) if k in (NUMBER, STAMP))
    above = [(line, cells) for line, cells in body.others if line < first]
    for line, cells in body.others:
        if first < line < last:
            continue
        kinds = [kind(cell) for cell in cells]
        numbers = kinds.count(NUMBER)
        if len(cells) > 1 and numbers and all(k in (NUMBER, MISSING) for k in kinds) and line not in _preamble(body):
            raise _ragged(path, line, cells, body)
        if len(cells) != body.width or not numbers:
            continue
        begins = kinds[key] == body.kinds[key]
        if not begins and len(above) > 1 and (line, cells) == above[-1] and _full(above[-2][1], body, kind):
            begins = kinds[key] == TEXT and sum(map(str.isalpha, cells[key])) < 3
        if not begins and line > last:
            begins = sum(map(str.isalpha, cells[key])) < 3 and any(map(str.isdigit, cells[key]))
        if begins:
            raise bad_cell(path, line, cells, kinds, body)


def _preamble(body: Body) -> set[int]:
    """The lines of numbers that were taken out of the body."""
    return {line for line, cells in body.others if line < body.rows[0][0] and len(cells) == body.width}


def _full(cells: list[str], body: Body, kind: Callable[[str], str]) -> bool:
    """Whether a line has text above every column of numbers, which makes it the header."""
    typed = [j for j, k in enumerate(body.kinds) if k in (NUMBER, STAMP)]
    return len(cells) == body.width and all(kind(cells[j]) == TEXT for j in typed)


def _check_between(path: Path, body: Body, options: TextOptions, header: Header) -> None:
    """Raise DataError for a line among the rows that is not a repeated header."""
    kind = make_kind(options, body.delimiter)
    first, last = body.rows[0][0], body.rows[-1][0]
    for line, cells in body.others:
        if not first < line < last:
            continue
        if _as_wide(cells, body) in header.rows:
            header.breaks.append(line)
            continue
        kinds = [kind(cell) for cell in cells]
        if NUMBER not in kinds and STAMP not in kinds:
            raise DataError(
                f"{path}, line {line}: {shown(cells)} stands between rows of numbers; if a second table begins there, "
                f"leave it out with skip_rows: ['{line}-'], else the line with skip_rows: [{line}]"
            )
        raise bad_cell(path, line, cells, kinds, body) if len(cells) == body.width else _ragged(path, line, cells, body)


def _ragged(path: Path, line: int, cells: list[str], body: Body) -> DataError:
    hint = ""
    if body.delimiter == "," and len(cells) > body.width:
        hint = "; numbers with commas in them must stand in quotes"
    return DataError(
        f"{path}, line {line}: {len(cells)} cells, {body.width} expected; mend the line or leave it out with "
        f"skip_rows: [{line}]{hint}"
    )


def bad_cell(path: Path, line: int, cells: list[str], kinds: list[str], body: Body) -> DataError:
    """The error for the first cell that is not a number in a column of numbers."""
    place = next((j for j, k in enumerate(body.kinds) if k in (NUMBER, STAMP) and kinds[j] not in (k, MISSING)), 0)
    return no_number(path, line, place, cells[place])


def no_number(path: Path, line: int, column: int, cell: str) -> DataError:
    """The error for a cell that is not a number."""
    return DataError(
        f"{path}, line {line}, column {column}: {cell!r} is no number; mend it, leave it empty, or set "
        f"missing: [{cell!r}] if it stands for no value"
    )


def shown(cells: list[str]) -> str:
    """A line as shown in a message."""
    text = " ".join(cell for cell in cells if cell)
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")


def _tell(body: Body, header: Header) -> None:
    """Add notes on what is not read."""
    first, last = body.rows[0][0], body.rows[-1][0]
    above = [row for row in body.others if row[0] < first and row[0] not in header.used]
    below = [row for row in body.others if row[0] > last]
    for rows, where in ((above, "before"), (below, "behind")):
        if rows:
            lines = f"line {rows[0][0]}" if len(rows) == 1 else f"{len(rows)} lines, {rows[0][0]} to {rows[-1][0]},"
            header.notes.append(
                f"{lines} {where} the table not read, such as {shown(rows[-1 if rows is above else 0][1])}"
            )
    if header.breaks:
        header.notes.append(f"header repeated in line {', '.join(map(str, header.breaks))}, skipped")
    if body.empty:
        lines = (
            f"line {body.empty[0]}" if len(body.empty) == 1 else f"{len(body.empty)} lines, first line {body.empty[0]},"
        )
        header.notes.append(f"{lines} of empty cells skipped")
    among = [line for line, _ in body.comments if first < line < last]
    if among:
        header.notes.append(f"comments among the rows skipped: {len(among)}, the first in line {among[0]}")
    if body.inline:
        header.notes.append(f"comments behind the numbers of {body.inline} rows skipped")
