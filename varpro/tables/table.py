"""A table of a text file: its columns by name or number, as numbers or as seconds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.tables.cells import (
    COMMA_FLOAT,
    NUMBER,
    STAMP,
    TEXT,
    is_missing_word,
    make_kind,
    missing_numbers,
    missing_words,
)
from varpro.tables.decode import read_lines
from varpro.tables.header import Header, no_number, read_header
from varpro.tables.layout import Body, find_body
from varpro.tables.notation import Cell, decimal_sign, readings
from varpro.tables.options import TextOptions
from varpro.tables.stamps import Stamps, seconds_from_first

SHOWN_NAMES = 12


@dataclass
class Table:
    """Rows and columns of a text file; only their notation is checked before a column is requested."""

    path: Path
    options: TextOptions
    body: Body
    header: Header
    decimal: str
    notes: list[str] = field(default_factory=list)
    """What was left out or decided, one sentence each."""
    missing: dict[str, int] = field(default_factory=dict)
    """The words for missing values, and how often they occurred in the columns read."""

    @property
    def width(self) -> int:
        """The number of columns in the file, whatever they contain."""
        return self.body.width

    @property
    def names(self) -> list[str]:
        """One name for each column; empty without a header."""
        return self.header.names

    @property
    def lines(self) -> list[int]:
        """The line of each row."""
        return [line for line, _ in self.body.rows]

    def label(self, column: int) -> str:
        """The name of a column in messages."""
        name = self.names[column] if self.names else ""
        return f"column {column} ({name})" if name else f"column {column}"

    def kind(self, column: int) -> str:
        """The kind of most cells of a column: NUMBER, STAMP, TEXT or MISSING."""
        return self.body.kinds[column]

    def find(self, key: int | str, role: str) -> int:
        """The column with this name, or with this number from 0.  Raises DataError."""
        if isinstance(key, str):
            for names in (self.names, *self.header.rows):
                places = [j for j, name in enumerate(names) if name == key]
                if len(places) > 1:
                    listed = " and ".join(map(str, places))
                    raise DataError(f"{self.path}: columns {listed} are both called {key!r}; give {role} a number")
                if places:
                    return places[0]
        elif -self.width <= key < self.width:
            return key % self.width
        listed = ", ".join(self.names[:SHOWN_NAMES]) if self.names else "none has a name"
        raise DataError(f"{self.path}: no column {key!r} for {role}; there are {self.width}, counted from 0 ({listed})")

    def numbers(self, column: int, role: str) -> Array:
        """(N,) float64, NaN where a cell is missing.  Raises DataError with the line of a cell that is not a number."""
        words, marks = missing_words(self.options), missing_numbers(self.options)
        place = 0 if self.decimal == "." else 1
        blanks = self.body.delimiter in ("\t", ";")
        out = np.empty(len(self.body.rows))
        for row, (line, cells) in enumerate(self.body.rows):
            cell = cells[column]
            value = _quick(cell, self.decimal) if cell not in words else None
            if value is None and cell not in words:
                value = readings(cell, blanks=blanks)[place]
            if value is None and (cell in words or is_missing_word(cell)):
                self._count(cell)
                value = np.nan
            elif value is None:
                raise self._no_number(column, role, line, cell)
            elif value in marks:
                self._count(cell)
                value = np.nan
            elif np.isinf(value):
                raise DataError(
                    f"{self.path}, line {line}: {cell!r} in {self.label(column)} is beyond the largest number, "
                    f"{np.finfo(float).max:.2g}; correct it, or name it in missing"
                )
            out[row] = value
        return out

    def stamps(self, column: int, clock: int | None = None) -> Stamps:
        """Seconds from the first time stamp; clock : a column of times of day beside one of dates."""
        words = missing_words(self.options)
        cells: list[Cell | None] = []
        for line, row in self.body.rows:
            parts = [row[j] for j in (column, clock) if j is not None]
            gone = any(part in words or is_missing_word(part) for part in parts)
            cells.append(None if gone else Cell(line, column, " ".join(parts)))
        if all(cell is None for cell in cells):
            raise DataError(f"{self.path}: {self.label(column)} holds no time stamp; name another with columns.t")
        return seconds_from_first(self.path, cells, self.options.time_format)

    def _count(self, cell: str) -> None:
        self.missing[cell] = self.missing.get(cell, 0) + 1

    def _no_number(self, column: int, role: str, line: int, cell: str) -> DataError:
        if self.kind(column) == TEXT:
            return DataError(
                f"{self.path}: {self.label(column)} holds text ({cell!r} in line {line}); name a column of numbers "
                f"with {role}"
            )
        if self.kind(column) == STAMP:
            return DataError(f"{self.path}: {self.label(column)} holds time stamps ({cell!r}); they can be t only")
        other = "," if self.decimal == "." else "."
        if readings(cell)[0 if other == "." else 1] is not None:
            return DataError(
                f"{self.path}, line {line}, column {column}: {cell!r} is no number where the decimal sign is "
                f"{self.decimal!r}; mend it, or set decimal: {other!r} if that is the sign of the file"
            )
        return no_number(self.path, line, column, cell)


def read_table(path: Path, options: TextOptions) -> Table:
    """The table in a text file.  Raises DataError: one line with the place and the remedy."""
    lines, notes = read_lines(path, options.encoding)
    lines = [(line, text) for line, text in lines if not options.skipped(line)]
    if lines and lines[0][1].lower().startswith("sep=") and len(lines[0][1].strip()) == 5:  # Excel's first line
        notes.append(f"line {lines[0][0]} names the delimiter")
        lines = lines[1:]
    body = find_body(path, [(line, text) for line, text in lines if text.strip()], options)
    header = read_header(path, body, options)
    columns = [j for j, kind in enumerate(body.kinds) if kind == NUMBER]
    if options.decimal is None:
        decimal, told = _decimal(path, body, columns, options)
        notes += told
    else:
        decimal = options.decimal
    _refuse_torn_numbers(path, body, header, columns)
    return Table(path, options, body, header, decimal, [*header.notes, *notes])


def _quick(cell: str, decimal: str) -> float | None:
    """A number in plain notation; None for anything else."""
    if decimal == ",":
        return float(cell.replace(",", ".")) if COMMA_FLOAT.fullmatch(cell) and cell.isascii() else None
    try:
        return float(cell) if cell[-1:].isdigit() and "_" not in cell and cell.isascii() else None
    except ValueError:
        return None


def _decimal(path: Path, body: Body, columns: list[int], options: TextOptions) -> tuple[str, list[str]]:
    """The decimal sign, found at once if no cell has a comma and a point can be nothing else."""
    with_comma = any("," in cells[j] for _, cells in body.rows for j in columns)
    if not with_comma:
        for _, cells in body.rows:
            for j in columns:
                if "." in cells[j] and readings(cells[j])[1] is None and readings(cells[j])[0] is not None:
                    return ".", []
    kind = make_kind(options, body.delimiter)

    def cells_of(column: int) -> Iterator[Cell]:
        for line, cells in body.rows:
            if kind(cells[column]) == NUMBER:
                yield Cell(line, column, cells[column])

    return decimal_sign(path, (list(cells_of(j)) for j in columns), body.delimiter)


def _refuse_torn_numbers(path: Path, body: Body, header: Header, columns: list[int]) -> None:
    """Raise DataError if the comma that separates the columns is also in the numbers.

    0,25,3,07 are 0.25 and 3.07, and 0.5,1,024 is 0.5 and 1,024: parts of numbers begin with a 0 or are wider than the
    header.
    """
    if body.delimiter != ",":
        return
    whole = all(cells[j].lstrip("+-").isdigit() or not cells[j] for _, cells in body.rows for j in columns)
    torn = header.narrow
    if torn is not None and whole and len(columns) == 2 * len(torn[1]):
        raise DataError(
            f"{path}, line {torn[0]}: {len(torn[1])} names above rows of {body.width} cells; if commas stand in the "
            "numbers save the file with another delimiter, else leave the line out with skip_rows and name the columns "
            "by number"
        )
    if header.names:
        return
    for line, cells in body.rows:
        for j in columns[1:]:
            cell = cells[j]
            if len(cell) > 1 and cell[0] == "0" and cell.isdigit() and (whole or len(cell) == 3):
                raise DataError(
                    f"{path}, line {line}, column {j}: {cell!r} looks like a part of a number with a comma; save the "
                    "file with another delimiter, such as a semicolon or tab"
                )
