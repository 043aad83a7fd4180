"""The files of a run: metrics.json, history.jsonl, config.resolved.yaml, the plots and the page."""

import json
from pathlib import Path

import yaml

from varpro.report.layered_page import LAYERED_ALTERNATIVES, render_layered_page
from varpro.report.layered_plots import draw_layered
from varpro.report.record import JsonObject, LayeredRecord, Record, ScalarizedRecord, plain
from varpro.report.scalarized_page import ALTERNATIVES, render_scalarized_page
from varpro.report.scalarized_plots import draw_scalarized


def write_outputs(record: Record, directory: Path) -> None:
    """Write every file of a run except model.h5; the page has the same plots as the PNG files.  Raises OSError."""
    write_numbers(record.metrics, record.history, record.config, directory)
    match record:
        case ScalarizedRecord():
            plots = draw_scalarized(record)
            page = render_scalarized_page(record, plots)
        case LayeredRecord():
            plots = draw_layered(record)
            page = render_layered_page(record, plots)
        case _:
            raise TypeError(f"no report is made of a {type(record).__name__}")
    _write_page(page, plots, directory)


def _write_page(page: str, plots: dict[str, bytes], directory: Path) -> None:
    """Write report.html and the plots; delete plots of an earlier run, of any kind, that this one does not have."""
    for name in (ALTERNATIVES.keys() | LAYERED_ALTERNATIVES.keys()) - plots.keys():
        (directory / f"{name}.png").unlink(missing_ok=True)
    for name, png in plots.items():
        (directory / f"{name}.png").write_bytes(png)
    (directory / "report.html").write_text(page, encoding="utf-8")


def write_numbers(metrics: JsonObject, history: list[JsonObject], config: JsonObject, directory: Path) -> None:
    """Write metrics.json, history.jsonl and config.resolved.yaml."""
    (directory / "metrics.json").write_text(json.dumps(plain(metrics), indent=2) + "\n", encoding="utf-8")
    with (directory / "history.jsonl").open("w", encoding="utf-8") as file:
        for line in history:
            file.write(json.dumps(plain(line)) + "\n")
    resolved = yaml.safe_dump(plain(config), sort_keys=False)
    (directory / "config.resolved.yaml").write_text(resolved, encoding="utf-8")
