"""Rows of the tables that the screen and the page share, and numbers in words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what it is, its value in words, and a note about it."""

    name: str
    value: str
    note: str = ""
    strong: bool = False


def percent(value: float | None) -> str:
    """A share in per cent with two digits; a dash if there is none."""
    return "-" if value is None or value != value else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    """Three significant digits; a dash if there is none."""
    return "-" if value is None or value != value else f"{value:.3g}"
