"""The plots of a layered network's run as PNG bytes: learning, features in the plane, spectra, neighbours."""

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from varpro.arrays import Array
from varpro.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    as_png,
    draw_confusion,
    draw_misclassified,
    picture,
)
from varpro.report.probabilities import draw_reliability
from varpro.report.record import Embedding, LayeredRecord

Colour = tuple[float, float, float, float]
"""Red, green, blue, opacity"""
NAMES = {"training": "trained", "control": "control (cross-entropy)", "untrained": "untrained"}
PHASES = (("training", BLUE, "-"), ("control", ORANGE, "--"))
NAMED_CLASSES = 20
"""With more classes, no legend names them."""


def draw_layered(record: LayeredRecord) -> dict[str, bytes]:
    """Every plot for which this run has data, by file stem."""
    drawn: dict[str, Callable[[LayeredRecord], Figure | None]] = {
        "learning": draw_learning,
        "embedding": draw_embedding,
        "epochs": draw_epochs,
        "spectrum": draw_spectrum,
        "scatter": draw_scatter,
        "separability": draw_separability,
        "retrieval": draw_retrieval,
        "reliability": draw_reliability,
        "confusion": draw_confusion,
        "misclassified": draw_misclassified,
    }
    return as_png(drawn, record)


def curve(record: LayeredRecord, phase: str, key: str) -> tuple[Array, Array]:
    """Epochs and values of a key in the history of a phase; NaN where it is missing."""
    lines = [line for line in record.history if line["phase"] == phase]
    values = [line.get(key) for line in lines]
    return np.array([line["epoch"] for line in lines]), np.array([np.nan if v is None else v for v in values], float)


def _draw_curves(
    axes: Axes, record: LayeredRecord, key: str, label: str, *, scale: float = 1.0, marker: str = ""
) -> int:
    """Draw a key for training and control; returns the number of lines."""
    count = 0
    for phase, colour, dashes in PHASES:
        epochs, values = curve(record, phase, key)
        if np.isfinite(values).any():
            axes.plot(
                epochs, scale * values, dashes + marker, color=colour, markersize=4, label=f"{label}, {NAMES[phase]}"
            )
            count += 1
    return count


def draw_learning(record: LayeredRecord) -> Figure | None:
    """Loss of the batches, and accuracies on the test images, by epoch."""
    if not record.history:
        return None
    figure = Figure(figsize=(8.5, 3.6))
    left, right = figure.subplots(1, 2)
    for phase, colour, dashes in PHASES:
        epochs, values = curve(record, phase, "loss")
        if np.isfinite(values).any():
            left.plot(epochs, values, dashes + "o", color=colour, markersize=4, label=NAMES[phase])
    left.set_title("Loss, mean over the batches")
    left.set_xlabel("epoch")
    left.set_xlim(left=0)
    left.legend()
    _draw_curves(right, record, "test_accuracy", "highest score", scale=100, marker="o")
    for phase, colour, _ in PHASES:
        epochs, values = curve(record, phase, "nearest_centroid")
        if np.isfinite(values).any():
            right.plot(
                epochs, 100 * values, ":s", color=colour, markersize=3, label=f"nearest centroid, {NAMES[phase]}"
            )
    right.set_title("Test accuracy, %")
    right.set_xlabel("epoch")
    figure.legend(*right.get_legend_handles_labels(), ncols=2, fontsize=9, loc="outside lower center")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def class_colours(count: int) -> list[Colour]:
    """One colour for each class."""
    name = "tab10" if count <= 10 else "tab20" if count <= 20 else "gist_rainbow"
    shades = matplotlib.colormaps[name]
    return [shades(k) if count <= 20 else shades(k / (count - 1)) for k in range(count)]


def _scatter(axes: Axes, shown: Embedding, colours: Sequence[Colour], title: str, size: float) -> None:
    for label, colour in enumerate(colours):
        of_class = shown.points[shown.labels == label]
        axes.scatter(of_class[:, 0], of_class[:, 1], s=size, color=colour, linewidths=0, alpha=0.6)
    for label, colour in enumerate(colours):
        x, y = shown.centroids[label]
        if np.isfinite(x):
            axes.plot(x, y, "o", color=colour, markersize=7, markeredgecolor="black", markeredgewidth=1.2)
    axes.set_title(title)
    axes.set_aspect("equal", adjustable="datalim")  # angles and distances are what matters here
    axes.tick_params(labelsize=8)


def _class_legend(figure: Figure, record: LayeredRecord, colours: Sequence[Colour]) -> None:
    if len(colours) > NAMED_CLASSES:
        return
    dots = [Line2D([], [], marker="o", linestyle="", color=colour, markersize=5) for colour in colours]
    columns = 10 if max(map(len, record.class_names)) <= 3 else 5
    legend = figure.legend(
        dots, record.class_names, ncols=columns, fontsize=8, loc="outside lower center", handletextpad=0.1
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_embedding(record: LayeredRecord) -> Figure | None:
    """Test images as points: trained, control, untrained; rings mark class means."""
    shown = [part for part in record.embeddings if len(part.points)]
    if not shown:
        return None
    colours = class_colours(len(record.class_names))
    figure = Figure(figsize=(max(4.2, 3.4 * len(shown)), 4.0))
    for axes, part in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        _scatter(axes, part, colours, NAMES.get(part.name, part.name), 5)
    figure.suptitle(f"Test images by {record.projection}", fontsize=11, fontweight="bold", x=0.01, ha="left")
    _class_legend(figure, record, colours)
    return figure


def draw_epochs(record: LayeredRecord) -> Figure | None:
    """The same points after some epochs of the training, each panel on its own scale."""
    if len(record.epochs) < 2:
        return None
    colours = class_colours(len(record.class_names))
    columns = min(3, len(record.epochs))
    rows = -(-len(record.epochs) // columns)
    figure = Figure(figsize=(2.9 * columns, 2.7 * rows + 0.5))
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        if place < len(record.epochs):
            _scatter(axes, record.epochs[place], colours, record.epochs[place].name, 3)
        else:
            axes.axis("off")
    how = "features" if record.projection == "features" else "two principal components of the features"
    figure.suptitle(f"Epoch by epoch: {how}", fontsize=11, fontweight="bold", x=0.01, ha="left")
    _class_legend(figure, record, colours)
    return figure


def _spectra(record: LayeredRecord) -> dict[str, Array]:
    found = {"training": record.metrics["test"].get("eigenvalues")}
    if record.metrics["control"]:
        found["control"] = record.metrics["control"]["test"].get("eigenvalues")
    found["untrained"] = record.metrics["untrained"]["test"].get("eigenvalues")
    return {name: np.sort(values)[::-1] for name, values in found.items() if values}


def draw_spectrum(record: LayeredRecord) -> Figure | None:
    """Eigenvalues of the null-space objective at the end and during training."""
    spectra = _spectra(record)
    if not spectra:
        return None
    figure = Figure(figsize=(8.5, 3.4))
    left, right = figure.subplots(1, 2)
    colours = {"training": BLUE, "control": ORANGE, "untrained": GREY}
    for name, values in spectra.items():
        left.semilogy(np.arange(1, len(values) + 1), values, "o-", color=colours[name], markersize=4, label=NAMES[name])
    left.set_title("Eigenvalues / tr S_t, ridge mode")
    left.set_xlabel("number")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    for phase, colour, dashes in PHASES:
        lines = [line for line in record.history if line["phase"] == phase and line.get("eigenvalues")]
        if lines:
            table = np.array([(min(line["eigenvalues"]), max(line["eigenvalues"])) for line in lines])
            epochs = [line["epoch"] for line in lines]
            right.semilogy(epochs, table[:, 1], dashes, color=colour, label=f"largest, {NAMES[phase]}")
            right.semilogy(epochs, table[:, 0], dashes, color=colour, linewidth=0.9, label=f"smallest, {NAMES[phase]}")
            right.fill_between(epochs, table[:, 0], table[:, 1], color=colour, alpha=0.12)
    right.set_title("Largest and smallest by epoch")
    right.set_xlabel("epoch")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(fontsize=8)
    return figure


def draw_scatter(record: LayeredRecord) -> Figure | None:
    """tr S_w / tr S_t of the test features by epoch."""
    figure = Figure(figsize=(7, 3.0))
    axes = figure.subplots()
    if not _draw_curves(axes, record, "scatter_ratio", "test images", marker="o"):
        return None
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("tr S_w / tr S_t: share of the scatter within classes")
    axes.legend()
    return figure


def draw_separability(record: LayeredRecord) -> Figure | None:
    """e(W) and e_norm(W) of the last layer by epoch."""
    figure = Figure(figsize=(8.5, 3.2))
    left, right = figure.subplots(1, 2)
    count = _draw_curves(left, record, "separability", "e(W)", marker="o")
    _draw_curves(right, record, "separability_normalised", "e_norm(W)", marker="o")
    if not count:
        return None
    left.set_yscale("log")
    left.set_title("Separability e(W) of the last layer")
    right.set_title("Of its columns over their norms")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)
    return figure


def draw_retrieval(record: LayeredRecord) -> Figure | None:
    """Rows with a query and its nearest test images; a red frame marks another class."""
    found = record.retrieved
    if found is None or not len(found.queries):
        return None
    rows, k = found.found_labels.shape
    figure = Figure(figsize=(0.75 * (k + 1) + 0.6, 0.78 * rows + 0.5))
    for row, line in enumerate(figure.subplots(rows, k + 1, squeeze=False)):
        images = [found.queries[row], *found.found[row]]
        for place, (axes, image) in enumerate(zip(line, images, strict=True)):
            picture(axes, image)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
            wrong = place > 0 and found.found_labels[row, place - 1] != found.query_labels[row]
            colour = GREEN if place == 0 else RED if wrong else "#dddddd"
            for side in axes.spines.values():
                side.set(visible=True, color=colour, linewidth=2.5 if place == 0 or wrong else 0.8)
    figure.suptitle(
        "Query (green) and its nearest; orange: another class", fontsize=11, fontweight="bold", x=0.01, ha="left"
    )
    return figure
