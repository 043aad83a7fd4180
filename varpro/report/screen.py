"""The short table on the screen after a run."""

import sys
from pathlib import Path
from typing import TextIO

from varpro.report.layered_table import Line, accuracy_lines, feature_lines, layered_facts, retrieval_lines
from varpro.report.probabilities import probability_rows
from varpro.report.record import LayeredRecord, Record, ScalarizedRecord
from varpro.report.scalarized_table import accuracy_rows, bootstrap_rows, cost_rows
from varpro.report.table import Row


def print_summary(record: Record, directory: Path, stream: TextIO | None = None) -> None:
    """Print the outcome of a run as aligned text, the headline first, and where its files are."""
    stream = sys.stdout if stream is None else stream
    match record:
        case ScalarizedRecord():
            lines = _scalarized(record)
        case LayeredRecord():
            lines = _layered(record)
        case _:
            raise TypeError(f"no table is made of a {type(record).__name__}")
    print("\n".join(lines), file=stream)
    print(f"\nreport  {directory / 'report.html'}\nmodel   {directory / 'model.h5'}", file=stream)


def _scalarized(record: ScalarizedRecord) -> list[str]:
    """Accuracy, bootstrapping, time."""
    sections = [
        (f"{record.metrics['dataset']}, seed {record.metrics['seed']}", accuracy_rows(record)),
        ("probabilities", probability_rows(record)),
        ("bootstrapping over the test set", bootstrap_rows(record)),
        ("cost", cost_rows(record)),
    ]
    width = max(len(row.name) for _, rows in sections for row in rows)
    values = max(len(row.value) for _, rows in sections for row in rows)
    return [
        line for title, rows in sections if rows for line in ("", title, *(_line(row, width, values) for row in rows))
    ]


def _layered(record: LayeredRecord) -> list[str]:
    """Accuracy, retrieval and features of the three networks; then what was trained."""
    m = record.metrics
    lines = [*accuracy_lines(record), *retrieval_lines(record)[:1], *feature_lines(record)]
    width = max(len(line.name) for line in lines)
    heads = Line("", "trained", "control" if m["control"] else "", "untrained")
    table = [
        f"  {line.name:<{width}}  {line.trained:>9}  {line.control if m['control'] else '':>9}  {line.untrained:>9}"
        for line in (heads, *lines)
    ]
    rows = [*probability_rows(record), *layered_facts(record)]
    facts = [f"  {row.name:<27}{row.value}{'  ' + row.note if row.note else ''}" for row in rows]
    return ["", f"{m['dataset']}, seed {m['seed']}, test images, true labels", *table, "", *facts]


def _line(row: Row, width: int, values: int) -> str:
    return f"  {row.name:<{width}}  {row.value:>{values}}  {row.note}".rstrip()
