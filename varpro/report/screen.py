"""The short table on the screen after a run."""

import sys
from pathlib import Path
from typing import TextIO

from varpro.report.network_record import NetworkRecord
from varpro.report.network_table import Line, accuracy_lines, feature_lines, network_facts, retrieval_lines
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


def print_network_summary(record: NetworkRecord, directory: Path, stream: TextIO | None = None) -> None:
    """Accuracy, retrieval and features of the three networks; then what was trained."""
    stream = sys.stdout if stream is None else stream
    m = record.metrics
    print(f"\n{m['dataset']}, seed {m['seed']}, test images, true labels", file=stream)
    lines = [*accuracy_lines(record), *retrieval_lines(record)[:1], *feature_lines(record)]
    width = max(len(line.name) for line in lines)
    heads = Line("", "trained", "control" if m["control"] else "", "untrained")
    for line in (heads, *lines):
        control = line.control if m["control"] else ""
        print(f"  {line.name:<{width}}  {line.trained:>9}  {control:>9}  {line.untrained:>9}", file=stream)
    print(file=stream)
    for row in network_facts(record):
        print(f"  {row.name:<22}{row.value}{'  ' + row.note if row.note else ''}", file=stream)
    print(f"\nreport  {directory / 'report.html'}\nmodel   {directory / 'model.h5'}", file=stream)


def _line(row: Row, width: int, values: int) -> str:
    return f"  {row.name:<{width}}  {row.value:>{values}}  {row.note}".rstrip()
