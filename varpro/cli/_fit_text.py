"""t, y and weights of varpro-fit from a table in a text file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from varpro.arrays import Array
from varpro.cli._fit_check import check_t
from varpro.config.fit import FitConfig
from varpro.errors import DataError
from varpro.tables import Table, read_table
from varpro.tables.cells import MISSING, NUMBER, STAMP, TEXT
from varpro.tables.stamps import is_stamp

SHOWN = 6


class Found(NamedTuple):
    """t (N,), y (N,), (K, N) or with `shared` (N, K), weights like y or (N,), and what was left out or converted."""

    t: Array
    y: Array
    weights: Array | None
    notes: list[str]


class _Time(NamedTuple):
    """The column of t, with numbers or time stamps, and possibly a column of times of day beside dates."""

    column: int
    clock: int | None = None


def read_text(path: Path, config: FitConfig) -> Found:
    """The columns that the config names.  Raises DataError: one line with the place and the remedy."""
    table = read_table(path, config.text_options())
    listed = config.weights if isinstance(config.weights, list) else [] if config.weights is None else [config.weights]
    weights = [table.find(key, "weights") for key in listed]
    time = _time_column(table, config, weights)
    y = _y_columns(table, config, time, weights)
    if len(weights) > 1 and len(weights) != len(y):
        raise DataError(
            f"{path}: weights names {len(weights)} columns, y has {len(y)}; give one for all, or one for each"
        )
    t, told = _times(table, time)
    values = np.stack([table.numbers(j, "columns.y") for j in y], axis=1)
    spread = np.stack([table.numbers(j, "weights") for j in weights], axis=1) if weights else np.empty((len(t), 0))
    kept, dropped = check_t(t, np.isnan(values).all(axis=1), lambda row: f"{path}, line {table.lines[row]}")
    t, values, spread = t[kept], values[kept], spread[kept]
    lines = np.array(table.lines)[kept]
    _check_columns(table, y, values)
    _check_weights(table, weights, spread, values, lines)
    _check_breaks(table, t, lines)
    notes = [*table.notes, *told, *_missing_words(table), *_dropped(table, dropped)]
    if len(y) == 1 and not config.shared:
        return Found(t, values[:, 0], spread[:, 0] if weights else None, notes)
    arranged = values if config.shared else np.ascontiguousarray(values.T)
    if not weights or len(weights) == 1:
        return Found(t, arranged, spread[:, 0] if weights else None, notes)
    return Found(t, arranged, spread if config.shared else np.ascontiguousarray(spread.T), notes)


def _time_column(table: Table, config: FitConfig, weights: list[int]) -> _Time:
    key = config.columns.t
    if isinstance(key, list):
        return _Time(*(table.find(part, "columns.t") for part in key))
    if key is not None:
        return _Time(table.find(key, "columns.t"))
    asked = [] if config.columns.y is None else [table.find(part, "columns.y") for part in config.columns.y]
    _refuse_narrow_header(table)
    _refuse_series_in_rows(table)
    free = [j for j in range(table.width) if table.kind(j) in (NUMBER, STAMP) and j not in asked and j not in weights]
    if free and _is_index(table, free[0]) and len(free) > 1 and (len(free) > 2 or asked):
        table.notes.append(f"{table.label(free[0])} counts the rows, not read; set columns.t to use it")
        free = free[1:]
    if not free:
        line, cells = table.body.rows[0]
        raise DataError(
            f"{table.path}: no column of numbers is left for t ({table.label(0)} holds {cells[0]!r} in line {line}); "
            "check delimiter and columns, or set time_format if these are time stamps"
        )
    first = free[0]
    if len(free) > 1 and table.kind(first) == table.kind(free[1]) == STAMP and ":" in table.body.rows[0][1][free[1]]:
        return _Time(first, free[1])
    return _Time(first)


def _is_index(table: Table, column: int) -> bool:
    """Whether the first column, without a name though others have one, counts 0, 1, 2 ... or 1, 2, 3 ..."""
    names = table.names
    if not names or names[column] or column or table.kind(column) != NUMBER or not all(names[1:2]):
        return False
    cells = [cells[column] for _, cells in table.body.rows]
    return all(cell.isdigit() for cell in cells) and [int(c) - int(cells[0]) for c in cells] == list(range(len(cells)))


def _refuse_narrow_header(table: Table) -> None:
    """Raise DataError for rows with one cell more than there are names, as R writes row names."""
    narrow = table.header.narrow
    if narrow is not None and table.body.delimiter is not None and len(narrow[1]) == table.width - 1:
        raise DataError(
            f"{table.path}, line {narrow[0]}: {len(narrow[1])} names above rows of {table.width} cells; name the "
            f"columns by number, such as columns: {{t: 1, y: [2]}}"
        )


def _refuse_series_in_rows(table: Table) -> None:
    """Raise DataError for a transposed table, which has no names above but one at the beginning of each row."""
    heads = [cells[0] for _, cells in table.body.rows]
    if not table.names and table.kind(0) == TEXT and len(set(heads)) == len(heads) > 1 and all(heads):
        raise DataError(
            f"{table.path}, line {table.lines[0]}: each row begins with a name ({heads[0]!r}, {heads[1]!r}) and none "
            "stands above the columns; save the table transposed if its rows are curves, else name columns by number"
        )


def _y_columns(table: Table, config: FitConfig, time: _Time, weights: list[int]) -> list[int]:
    if config.columns.y is not None:
        return [table.find(key, "columns.y") for key in config.columns.y]
    free = [j for j in range(table.width) if j not in (*time, *weights)]
    if time.column and config.columns.t is None:
        free = [j for j in free if j > time.column or table.kind(j) != NUMBER]
    y = [j for j in free if table.kind(j) == NUMBER]
    for kind, word in ((TEXT, "text"), (STAMP, "time stamps")):
        columns = [table.label(j) for j in free if table.kind(j) == kind]
        if columns:
            more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
            table.notes.append(f"not read, as they hold {word}: {', '.join(columns[:SHOWN])}{more}")
    empty = [table.label(j) for j in free if table.kind(j) == MISSING and table.names and table.names[j]]
    if empty:
        table.notes.append(f"not read, as they are empty: {', '.join(empty[:SHOWN])}")
    if not y:
        held = ""
        for j in free:
            line, cell = next(((n, row[j]) for n, row in table.body.rows if row[j]), (0, ""))
            held = held or (
                f" ({table.label(j)} holds {cell!r} in line {line})" if cell else f" ({table.label(j)} is empty)"
            )
        stamps = "; set time_format if these are time stamps" if any(table.kind(j) == TEXT for j in free) else ""
        raise DataError(
            f"{table.path}: no column of numbers is left for y{held}; check delimiter, decimal and columns{stamps}"
        )
    return y


def _times(table: Table, time: _Time) -> tuple[Array, list[str]]:
    """t, and a note if it was converted."""
    if time.clock is None and table.kind(time.column) != STAMP and table.options.time_format is None:
        _refuse_dates_as_numbers(table, time.column)
        return table.numbers(time.column, "columns.t"), []
    stamps = table.stamps(*time)
    told = f"t in seconds since {stamps.origin} ({table.label(time.column)}, line {table.lines[0]})"
    return stamps.seconds, [told, *stamps.notes]


def _refuse_dates_as_numbers(table: Table, column: int) -> None:
    """Raise DataError for 20240301 and 20240301100000, which are not numbers of days or seconds."""
    cells = [cells[column] for _, cells in table.body.rows if cells[column]]
    for digits, time_format in ((8, "%Y%m%d"), (14, "%Y%m%d%H%M%S")):
        if len(cells) > 1 and all(
            len(c) == digits and c[:2] in ("19", "20") and is_stamp(c, time_format) for c in cells
        ):
            raise DataError(
                f"{table.path}, line {table.lines[0]}: {cells[0]!r} in {table.label(column)} may be a date; "
                f"set time_format: '{time_format}', or take another column for t"
            )


def _check_columns(table: Table, y: list[int], values: Array) -> None:
    for place, column in enumerate(y):
        if not np.isfinite(values[:, place]).any():
            raise DataError(
                f"{table.path}: {table.label(column)} holds no value in all {len(values)} rows; leave it out"
            )


def _check_weights(table: Table, weights: list[int], spread: Array, values: Array, lines: Array) -> None:
    """Raise DataError for a weight that is missing beside a value, or negative."""
    for place, column in enumerate(weights):
        own = values if len(weights) == 1 else values[:, [place]]
        used = np.isfinite(own).any(axis=1)
        bad = np.flatnonzero(used & ~(spread[:, place] >= 0))
        if bad.size:
            value = spread[bad[0], place]
            what = "no value" if np.isnan(value) else f"{value:g}"
            raise DataError(
                f"{table.path}, line {lines[bad[0]]}: the weight in {table.label(column)} is {what}; weights are 1 / "
                "error, 0 to leave a value out"
            )
        spread[~used, place] = 0.0


def _check_breaks(table: Table, t: Array, lines: Array) -> None:
    """Raise DataError if t starts again after a repeated header or a blank line, since that is a second table."""
    for line in table.header.breaks:
        before, behind = t[lines < line], t[lines > line]
        if len(before) > 1 and behind.size and (np.diff(before) >= 0).all() and behind[0] < before[-1]:
            raise _second_table(table, line, behind[0])
    starts = np.flatnonzero(np.diff(lines) > 1) + 1
    blocks = np.split(t, starts)
    if len(blocks) > 1 and all(len(block) > 1 and (np.diff(block) > 0).all() for block in blocks):
        anew = next((i for i in range(1, len(blocks)) if blocks[i][0] < blocks[i - 1][-1]), None)
        if anew is not None:
            raise _second_table(table, int(lines[starts[anew - 1]]), blocks[anew][0])


def _second_table(table: Table, line: int, first: float) -> DataError:
    return DataError(
        f"{table.path}, line {line}: a second table begins there, with t = {first:g} again; leave it out with "
        f"skip_rows: ['{line}-'], or the first with skip_rows: {line - 1}"
    )


def _missing_words(table: Table) -> list[str]:
    """How many cells were missing, by their content."""
    if not table.missing:
        return []
    parts = [f"{n} {word if word else 'empty'}" for word, n in table.missing.items()]
    return [f"missing cells: {', '.join(parts[:SHOWN])}"]


def _dropped(table: Table, rows: Array) -> list[str]:
    if not len(rows):
        return []
    lines = ", ".join(str(table.lines[row]) for row in rows[:SHOWN])
    return [f"rows without t and y left out: line {lines}{' ...' if len(rows) > SHOWN else ''}"]
