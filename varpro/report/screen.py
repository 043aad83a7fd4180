"""The short table on the screen after a run."""

import sys
from pathlib import Path
from typing import TextIO

from varpro.report.record import RunRecord
from varpro.report.table import Row, accuracy_rows, bootstrap_rows, cost_rows


def print_summary(record: RunRecord, directory: Path, stream: TextIO | None = None) -> None:
    """Accuracy, bootstrapping, time; aligned text, the headline first."""
    stream = sys.stdout if stream is None else stream
    sections = [
        (f"{record.metrics['dataset']}, seed {record.metrics['seed']}", accuracy_rows(record)),
        ("bootstrapping over the test set", bootstrap_rows(record)),
        ("cost", cost_rows(record)),
    ]
    width = max(len(row.name) for _, rows in sections for row in rows)
    values = max(len(row.value) for _, rows in sections for row in rows)
    for title, rows in sections:
        if rows:
            print(f"\n{title}", file=stream)
            for row in rows:
                print(_line(row, width, values), file=stream)
    print(f"\nreport  {directory / 'report.html'}\nmodel   {directory / 'model.h5'}", file=stream)


def _line(row: Row, width: int, values: int) -> str:
    return f"  {row.name:<{width}}  {row.value:>{values}}  {row.note}".rstrip()
