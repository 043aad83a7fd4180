"""Plots of single units: the forms that weigh most in the linear layer, and where they fire."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varpro.arrays import Array
from varpro.report.drawing import BLUE, image_grid, picture
from varpro.report.record import Fired, ScalarizedRecord

CELL_INCHES = 1.0


def draw_units(record: ScalarizedRecord) -> Figure | None:
    """Matrices of the units as images, those that weigh most first."""
    matrices = record.unit_matrices
    if not len(matrices):
        return None

    def draw(axes: Axes, place: int) -> None:
        _draw_form(axes, matrices[place])

    count, shown = record.unit_count, len(matrices)
    which = "The forms" if shown == count else f"{shown} of {count:,} forms"
    return image_grid(shown, 12, (0.75, 0.75), draw, f"{which}, by weight (red +, blue -)")


def draw_firing(record: ScalarizedRecord) -> Figure | None:
    """For some test images, what the strongest units answer at each place, in a frame of the image; a unit's maps share
    one scale, from its least to its largest answer on all images."""
    images, labels = record.fired_images, record.fired_labels
    if not record.fired or images is None or labels is None:
        return None
    rows, columns = len(images) + 1, len(record.fired) + 1
    figure = Figure(figsize=(columns * CELL_INCHES, rows * CELL_INCHES + 0.6))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel():
        axes.axis("off")
    for column, unit in enumerate(record.fired, start=1):
        _draw_form(grid[0, column], unit.picture)
        grid[0, column].set_title(f"{100 * unit.share:.1f} %", fontsize=8, fontweight="normal", loc="center", pad=2)
        for row, answers in enumerate(unit.maps, start=1):
            _draw_answers(grid[row, column], unit, answers, images.shape[-2:])
    for row, (image, label) in enumerate(zip(images, labels, strict=True), start=1):
        picture(grid[row, 0], image)
        name = record.class_names[label]
        grid[row, 0].set_title(name, fontsize=8, fontweight="normal", loc="left", pad=2, parse_math=False)
    figure.suptitle("Where the strongest filters fire (dark: a large answer)", fontsize=11, fontweight="bold", x=0.01,
                    ha="left")  # fmt: skip
    return figure


def _draw_form(axes: Axes, matrix: Array) -> None:
    """A matrix centred at zero; the scale is such that 2 % of the nonzero entries exceed it, since otherwise a few
    pixels that are hardly ever lit would leave the rest white."""
    size = np.abs(matrix)
    largest = float(np.quantile(size[size > 0], 0.98)) if size.any() else 1.0
    axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")


def _draw_answers(axes: Axes, unit: Fired, answers: Array, shape: tuple[int, ...]) -> None:
    low, high = float(unit.maps.min()), float(unit.maps.max())
    high = high if high > low else low + 1.0
    axes.imshow(answers, cmap="gray_r", vmin=low, vmax=high, extent=unit.area, interpolation="nearest")
    left, right, bottom, top = unit.area
    for place in range(1, unit.cells):
        part = place / unit.cells
        axes.plot([left + part * (right - left)] * 2, [top, bottom], color=BLUE, linewidth=0.6, alpha=0.7)
        axes.plot([left, right], [top + part * (bottom - top)] * 2, color=BLUE, linewidth=0.6, alpha=0.7)
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
