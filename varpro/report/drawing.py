"""What all plots share: colours, style, grids of images, PNG bytes; and the plots common to all trainings.

The colours are those of Okabe and Ito, which colour-blind people can tell apart.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varpro.arrays import Array
from varpro.report.record import Record

R = TypeVar("R", bound=Record)

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
}
NUMBERED_CLASSES = 20
"""With more classes, the confusion matrix shows colours only."""
TITLE_INCHES = 4.0
"""Least width of a grid of images, so that its title fits."""


def as_png(draws: Mapping[str, Callable[[R], Figure | None]], record: R) -> dict[str, bytes]:
    """Every plot for which the run has data, by name."""
    plots = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in draws.items():
            figure = draw(record)
            if figure is not None:
                plots[name] = png(figure)
    return plots


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return buffer.getvalue()


def picture(axes: Axes, image: Array) -> None:
    """An image (L, R) or (C, L, R) in [0, 1]: dark on white, or in its colours; of a tensor, its middle slice."""
    while image.ndim > 3 or (image.ndim == 3 and len(image) > 4):
        image = image[len(image) // 2]
    if image.ndim == 3:
        image = np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image[0]
    axes.imshow(image, cmap="gray_r" if image.ndim == 2 else None, vmin=0, vmax=1, interpolation="nearest")


def image_grid(
    count: int, columns: int, cell: tuple[float, float], draw: Callable[[Axes, int], None], title: str
) -> Figure:
    """A figure of `count` cells in rows of `columns`, each of `cell` (width, height) inches: draw(axes, place)."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = Figure(figsize=(max(TITLE_INCHES, columns * cell[0]), rows * cell[1] + 0.45))
    for place, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()):
        axes.axis("off")
        if place < count:
            draw(axes, place)
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return figure


def draw_confusion(record: Record) -> Figure | None:
    """Counts, coloured by their share of the true class."""
    matrix = record.confusion
    count = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = 6.2 if count <= NUMBERED_CLASSES else 7.5
    figure = Figure(figsize=(size, size * 0.9))
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if count <= NUMBERED_CLASSES:
        for row in range(count):
            for column in range(count):
                if matrix[row, column]:
                    colour = "white" if share[row, column] > 0.5 else "black"
                    axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=8)
        long = max(len(name) for name in record.class_names) > 3
        slanted: dict[str, Any] = {"rotation": 60, "ha": "right"} if long else {}
        axes.set_xticks(range(count), record.class_names, parse_math=False, **slanted)
        axes.set_yticks(range(count), record.class_names, parse_math=False)
    axes.grid(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("Confusion matrix of the test set")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def draw_misclassified(record: Record) -> Figure | None:
    """The most confident mistakes."""
    images = record.misclassified_images
    if not len(images):
        return None
    names = record.class_names
    short = max(len(name) for name in names) <= 3

    def draw(axes: Axes, place: int) -> None:
        picture(axes, images[place])
        true, guess = names[record.misclassified_true[place]], names[record.misclassified_predicted[place]]
        gap = " → " if short else "\n→ "
        axes.set_title(f"{true}{gap}{guess}", fontsize=8, fontweight="normal", loc="center", pad=2, parse_math=False)

    cell = (0.8, 1.0) if short else (1.1, 1.45)
    return image_grid(len(images), 12 if short else 9, cell, draw, "Most confident mistakes: true → predicted")
