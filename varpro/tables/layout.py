"""Where the table is in a text file: its delimiter, its rows of numbers, its header, and what surrounds it.

The body is found from the longest run of lines with the same kinds of cells.  Lines of text before it are a preamble or
a header, after it a footer.  A line that begins like a row of numbers but does not continue as one is an error and is
never skipped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from varpro.errors import DataError
from varpro.tables.cells import INLINE_COMMENT, MISSING, NUMBER, STAMP, TEXT, comment_mark, make_kind, split
from varpro.tables.options import TextOptions

SAMPLE_LINES = 300
"""Lines at the beginning, and in the middle, of a file from which the delimiter is found."""
WHOLE_LINES = 3000
"""Files with more lines are judged by that sample; every line is still checked against the result."""
Lines = list[tuple[int, str]]
Row = tuple[int, list[str]]


@dataclass
class Body:
    """The rows of a table in the file."""

    delimiter: str | None
    width: int
    kinds: list[str]
    """The kind of each column: NUMBER, STAMP, TEXT, or MISSING if it is empty."""
    rows: list[Row] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    """The lines whose cells are all empty."""
    comments: list[tuple[int, str]] = field(default_factory=list)
    others: list[Row] = field(default_factory=list)
    """The lines that are not rows: text above, between and below them."""
    texts: dict[int, str] = field(default_factory=dict)
    """The whole line for each of `others`."""
    inline: int = 0
    """The number of rows with a comment after the numbers."""


def find_body(path: Path, lines: Lines, options: TextOptions) -> Body:
    """The body of the table.  Raises DataError if there is none."""
    if not lines:
        raise DataError(f"{path}: holds no data; it needs lines of numbers")
    best = _best_delimiter(lines, options)
    if best is None:
        raise _no_table(path, lines, options)
    (delimiter,) = best
    kind = make_kind(options, delimiter)
    run = _longest_run(lines if len(lines) <= WHOLE_LINES else _sample(lines), delimiter, options)
    assert run is not None
    signature, _ = run
    body = Body(delimiter, len(signature), signature)
    typed = [j for j, k in enumerate(signature) if k in (NUMBER, STAMP)]
    for line, text in lines:
        _sort_in(body, line, text, typed, kind, options)
    for j, k in enumerate(body.kinds):
        if k == MISSING:  # the longest run may end before a column begins
            body.kinds[j] = next((found for _, cells in body.rows if (found := kind(cells[j])) != MISSING), MISSING)
    return body


def _sort_in(
    body: Body, line: int, text: str, typed: list[int], kind: Callable[[str], str], options: TextOptions
) -> None:
    """Put a line where it belongs."""
    cells = split(text, body.delimiter)
    kinds = [kind(cell) for cell in cells]
    if not text.strip():
        return
    if not any(cells) or (len(cells) == body.width and all(k == MISSING for k in kinds)):
        body.empty.append(line)
        return
    if comment_mark(text, body.delimiter, options) is not None:
        body.comments.append((line, text))
        return
    fitted = _fitted(cells, kinds, body, typed)
    if fitted is None and INLINE_COMMENT.search(text):
        cells = split(INLINE_COMMENT.sub("", text), body.delimiter)
        fitted = _fitted(cells, [kind(cell) for cell in cells], body, typed)
        body.inline += fitted is not None
    if fitted is not None:
        body.rows.append((line, fitted))
    else:
        body.others.append((line, cells))
        body.texts[line] = text


def _fitted(cells: list[str], kinds: list[str], body: Body, typed: list[int]) -> list[str] | None:
    """The cells of a row, as many as the table has columns; None if the line is not a row of it."""
    while len(cells) > body.width and not cells[-1]:
        cells, kinds = cells[:-1], kinds[:-1]
    short = body.width - len(cells)
    if short < 0 or (short and (body.delimiter is None or any(j >= len(cells) for j in typed))):
        return None
    kinds = kinds + [MISSING] * short
    alike = all(kinds[j] in (body.kinds[j], MISSING) for j in typed)
    return cells + [""] * short if alike and any(kinds[j] != MISSING for j in typed) else None


def _best_delimiter(lines: Lines, options: TextOptions) -> tuple[str | None] | None:
    """The delimiter (None for blanks) that makes most lines rows of most numbers, in a tuple; None if none does."""
    sample = _sample(lines)
    best: tuple[str | None] | None = None
    most = (False, 0.0)
    for delimiter in options.separators():
        run = _longest_run(sample, delimiter, options)
        if run is None:
            continue
        signature, length = run
        told = [k for k in signature if k != MISSING]
        typed = sum(k != TEXT for k in told)
        score = (typed > 1, length * typed / len(told))
        if len(signature) > 1 and score > most:
            best, most = (delimiter,), score
    return best


def _sample(lines: Lines) -> Lines:
    middle = max(SAMPLE_LINES, len(lines) // 2)
    return lines[:SAMPLE_LINES] + lines[middle : middle + SAMPLE_LINES]


def _longest_run(lines: Lines, delimiter: str | None, options: TextOptions) -> tuple[list[str], int] | None:
    """The kinds of the columns in the longest run of similar lines, and its length; None if no line has a number.

    Two lines are similar if the kinds of their cells are, where an empty or missing cell matches any kind.  Blank
    lines, comments and lines of missing cells do not end a run.  Rows with a single number count half.
    """
    kind = make_kind(options, delimiter)
    best: tuple[list[str], int] | None = None
    most = 0
    signature: list[str] = []
    length = 0
    for _, text in [*lines, (0, "END")]:
        if not text.strip() or comment_mark(text, delimiter, options):
            continue
        kinds = [kind(cell) for cell in split(text, delimiter)]
        if TEXT in kinds and INLINE_COMMENT.search(text):
            bare = [kind(cell) for cell in split(INLINE_COMMENT.sub("", text), delimiter)]
            kinds = bare if bare.count(NUMBER) > 1 else kinds
        if all(k == MISSING for k in kinds):
            continue
        merged = _merged(signature, kinds)
        if merged is not None and text != "END":
            signature, length = merged, length + 1
            continue
        weight = length * min(2, sum(k in (NUMBER, STAMP) for k in signature))
        if weight > most:
            best, most = (signature, length), weight
        signature, length = kinds, 1
    return best


def _merged(one: list[str], other: list[str]) -> list[str] | None:
    if len(one) != len(other):
        return None
    merged = []
    for a, b in zip(one, other, strict=True):
        if a != b and MISSING not in (a, b):
            return None
        merged.append(b if a == MISSING else a)
    return merged


def _no_table(path: Path, lines: Lines, options: TextOptions) -> DataError:
    """The error that says why there is no table: only one column, or no numbers."""
    for delimiter in options.separators():
        run = _longest_run(lines, delimiter, options)
        if run is not None and run[1] > len(lines) // 2:
            return DataError(
                f"{path}: has 1 column of numbers, none is left for y; check the delimiter (set delimiter) and columns"
            )
    first = next((text.strip() for _, text in lines if text.strip()), "")
    shown = first if len(first) <= 40 else first[:37] + "..."
    return DataError(f"{path}: holds no table of numbers (it begins {shown!r}); set delimiter, decimal or skip_rows")
