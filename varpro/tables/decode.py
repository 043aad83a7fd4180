"""From the bytes of a file to its lines: encodings, line ends, quoted cells that continue on the next line."""

import re
from pathlib import Path

from varpro.errors import ConfigError, DataError

BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
OTHER_FILES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"%PDF", "a PDF"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "an array of NumPy"),
)
JOINED_LINES = 4
"""Most lines over which a quoted cell may continue; beyond that, the quote counts as a stray one."""


def read_lines(path: Path, encoding: str | None) -> tuple[list[tuple[int, str]], list[str]]:
    """(number from 1, text) for every line, and notes.  Raises DataError, ConfigError for an unknown encoding."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a text file of columns") from None
    text, notes = _decoded(path, content, encoding)
    lines = re.split(r"\r\n|\r|\n", text)
    return _logical_lines(lines), notes


def _decoded(path: Path, content: bytes, encoding: str | None) -> tuple[str, list[str]]:
    if encoding is not None:
        try:
            return content.decode(encoding).removeprefix("\ufeff"), []
        except LookupError:
            raise ConfigError(
                f"encoding is {encoding!r}; no such encoding, take one as utf-8, latin-1, cp1252"
            ) from None
        except UnicodeError as error:
            raise DataError(f"{path}: is no text in {encoding} ({error}); set another encoding") from None
    for mark, what in OTHER_FILES:
        if content.startswith(mark):
            raise DataError(f"{path}: is {what}, no text; save the columns as a text file (CSV)")
    guess = next((name for mark, name in BOMS if content.startswith(mark)), None) or _wide(content)
    try:
        text = content.decode(guess or "utf-8")
    except UnicodeError:
        if guess:
            raise DataError(f"{path}: begins as text in {guess} but is damaged; save it again") from None
        text = content.decode("cp1252", errors="replace")
        note = "read as Windows-1252 (it is no UTF-8); if names look wrong, set encoding"
        return text, [note]
    if "\0" in text:
        raise DataError(f"{path}: is no text (it holds zero bytes); name a text file of columns, or set encoding")
    return text, [] if guess in (None, "utf-8-sig") else [f"read as {guess.upper()}"]


def _wide(content: bytes) -> str | None:
    """UTF-16 without its mark, recognised as ASCII with a zero beside each character."""
    head = content[:4096]
    if len(head) < 4 or b"\0" not in head:
        return None
    zeros = [head[place::2].count(0) / max(1, len(head[place::2])) for place in (0, 1)]
    if zeros[1] > 0.6 and zeros[0] < 0.05:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.6 and zeros[1] < 0.05 else None


def _logical_lines(lines: list[str]) -> list[tuple[int, str]]:
    """Lines, each with the number of its first; a line that ends inside a quote is joined with the next ones."""
    out: list[tuple[int, str]] = []
    place = 0
    while place < len(lines):
        text, first = lines[place], place
        place += 1
        if text.count('"') % 2:
            for more in range(1, min(JOINED_LINES, len(lines) - first)):
                joined = " ".join(lines[first : first + more + 1])
                if joined.count('"') % 2 == 0 and not any(
                    _numeric_row(line) for line in lines[first + 1 : place + more]
                ):
                    text, place = joined, first + more + 1
                    break
        out.append((first + 1, text))
    return out


def _numeric_row(line: str) -> bool:
    """Whether a line has only numbers and delimiters, so that it does not continue a quoted name."""
    return '"' not in line and re.fullmatch(r"[\s\d.,;+\-eE|]*\d[\s\d.,;+\-eE|]*", line) is not None
