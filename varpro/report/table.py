"""Rows of the tables that the screen and the page share, and numbers in words."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """A line: what it is, its value in words, and what to know about it."""

    name: str
    value: str
    note: str = ""
    strong: bool = False


def percent(value: Any) -> str:
    """A share as per cent with two digits; a dash where there is none."""
    return "-" if value is None or value != value else f"{100 * value:.2f} %"


def number(value: Any) -> str:
    """Three significant digits; a dash where there is none."""
    return "-" if value is None or value != value else f"{value:.3g}"
