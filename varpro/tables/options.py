"""What a caller may specify about a text file; everything else is found in it."""

from dataclasses import dataclass
from functools import cached_property

from varpro.errors import ConfigError

DELIMITERS = {"tab": "\t", "semicolon": ";", "comma": ",", "bar": "|", "space": None}
"""Words for the delimiters; None is any run of blanks."""


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How to read a text file; None = found in the file."""

    skip_rows: int | tuple[int | str, ...] = 0
    """The lines to skip: how many at the beginning, or numbers of lines from 1 and ranges such as "40-99" or "40-"."""
    decimal: str | None = None
    """The decimal sign, "." or ","; the other sign then separates thousands."""
    encoding: str | None = None
    """The encoding, such as utf-8, latin-1, cp1252, utf-16."""
    missing: tuple[str | float, ...] = ()
    """Cells that mean a missing value, besides the usual words: text as written, or numbers such as -999."""
    delimiter: str | None = None
    """The delimiter: one character, or a word of DELIMITERS."""
    comment: tuple[str, ...] = ()
    """The beginnings of lines to skip, besides # % // ! and, unless it is the delimiter, ;."""
    time_format: str | None = None
    """The format of time stamps, in the letters of strftime, such as %d/%m/%Y %H:%M:%S."""

    def separators(self) -> tuple[str | None, ...]:
        """The delimiters to try; None is a run of blanks."""
        if self.delimiter is None:
            return ("\t", ";", ",", "|", None)
        return (DELIMITERS.get(self.delimiter, None if self.delimiter == " " else self.delimiter),)

    def skipped(self, line: int) -> bool:
        """Whether to skip a line, counted from 1."""
        if isinstance(self.skip_rows, int):
            return line <= self.skip_rows
        return any(first <= line <= last for first, last in self._ranges)

    @cached_property
    def _ranges(self) -> tuple[tuple[int, float], ...]:
        return () if isinstance(self.skip_rows, int) else tuple(map(line_range, self.skip_rows))


def line_range(entry: int | str) -> tuple[int, float]:
    """First and last line of 7, "40-99" or "40-".  Raises ConfigError."""
    first, dash, last = str(entry).replace(" ", "").partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or int(first) < 1:
        raise ConfigError(f"must hold numbers of lines from 1 and ranges such as '40-99' or '40-', not {entry!r}")
    return int(first), int(last) if last else (float("inf") if dash else int(first))
