"""The files of a network's run."""

from pathlib import Path

from varpro.report.network_page import render_network_page
from varpro.report.network_plots import draw_network
from varpro.report.network_record import NetworkRecord
from varpro.report.outputs import write_numbers, write_page


def write_network_outputs(record: NetworkRecord, directory: Path) -> None:
    """Write every file of a run but model.h5."""
    write_numbers(record.metrics, record.history, record.config, directory)
    plots = draw_network(record)
    write_page(render_network_page(record, plots), plots, directory)
