"""The plots of a scalarized network's run as PNG bytes."""

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

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
)
from varpro.report.probabilities import draw_reliability
from varpro.report.record import ScalarizedRecord
from varpro.report.table import percent
from varpro.report.unit_plots import draw_firing, draw_units

NAMED_RANKS = 30
"""With more ranks, only some are named."""


def draw_scalarized(record: ScalarizedRecord) -> dict[str, bytes]:
    """Every plot for which this run has data, by file stem."""
    drawn = {
        "accuracy": draw_accuracy,
        "convergence": draw_convergence,
        "refinement": draw_refinement,
        "pruning": draw_pruning,
        "reliability": draw_reliability,
        "confusion": draw_confusion,
        "units": draw_units,
        "firing": draw_firing,
        "misclassified": draw_misclassified,
        "ranks": draw_ranks,
        "seconds": draw_seconds,
    }
    return as_png(drawn, record)


def draw_pruning(record: ScalarizedRecord) -> Figure | None:
    """Accuracy on the validation images against the parameters that are left, and where the run stopped."""
    pruned = record.metrics.get("prune")
    points = [] if pruned is None else [p for p in pruned["curve"] if p["validation_accuracy"] is not None]
    if pruned is None or len(points) < 2:
        return None
    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    sizes, shares = [p["parameters"] for p in points], [100 * p["validation_accuracy"] for p in points]
    axes.plot(sizes, shares, "o-", color=BLUE, markersize=3, linewidth=1)
    kept = next(p for p in points if p["units"] == pruned["units"])
    axes.plot([kept["parameters"]], [100 * kept["validation_accuracy"]], "o", color=ORANGE, markersize=7)
    label = f"{kept['units']} of {pruned['units_before']} units kept"
    axes.annotate(label, (kept["parameters"], 100 * kept["validation_accuracy"]), (8, -14), textcoords="offset points")
    axes.set_xlabel("parameters left")
    axes.set_ylabel("validation accuracy (%)")
    axes.set_ylim(max(min(shares), max(shares) - 10) - 0.5, max(shares) + 0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    return figure


def draw_accuracy(record: ScalarizedRecord) -> Figure | None:
    """Accuracies against true labels; agreement is not accuracy, so it is not shown among them."""
    m = record.metrics
    bars = [
        ("training", m["train"]["accuracy"], GREY),
        ("validation", m["validation"]["accuracy"], GREY),
        ("test", m["test"]["accuracy"], BLUE),
    ]
    if m["control"]["test_accuracy"] is not None:
        bars.append(("test, untrained\nunits (control)", m["control"]["test_accuracy"], ORANGE))
    if m["bootstrap"]["test_accuracy"] is not None:
        bars.append(("test, after\nbootstrapping", m["bootstrap"]["test_accuracy"], GREEN))
    bars = [bar for bar in bars if bar[1] is not None and bar[1] == bar[1]]
    figure = Figure(figsize=(7, 2.9))
    axes = figure.subplots()
    values = [100 * value for _, value, _ in bars]
    axes.bar(range(len(bars)), values, color=[colour for *_, colour in bars], width=0.6)
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.2f}", (place, value), ha="center", va="bottom", xytext=(0, 2), textcoords="offset points"
        )
    axes.set_xticks(range(len(bars)), [name for name, *_ in bars])
    low = min(values)
    bottom = max(0.0, low - max(2.0, 0.5 * (100 - low)))
    axes.set_ylim(bottom, min(100.0, max(values)) + 0.12 * (100 - bottom))
    axes.grid(False, axis="x")
    axes.set_ylabel("accuracy, %")
    axes.set_title("Accuracy against true labels" + (f" (axis from {bottom:.0f} %)" if bottom else ""))
    return figure


def _curves(record: ScalarizedRecord) -> dict[int, Array]:
    curves: dict[int, dict[int, float]] = defaultdict(dict)
    for line in record.history:
        if line["phase"] == "train" and np.isfinite(line["cost"]):
            curves[line["subnetwork"]][line["iteration"]] = line["cost"]
    return {index: np.array(sorted(points.items())) for index, points in curves.items() if points}


def draw_convergence(record: ScalarizedRecord) -> Figure | None:
    """Cost of every sub-network by iteration, and the median."""
    curves = _curves(record)
    if not curves:
        return None
    figure = Figure(figsize=(7, 3.6))
    axes = figure.subplots()
    for points in curves.values():
        axes.plot(points[:, 0], points[:, 1], color=BLUE, linewidth=0.7, alpha=max(0.12, min(0.6, 8 / len(curves))))
    first, last = (pick(points[end, 0] for points in curves.values()) for pick, end in ((min, 0), (max, -1)))
    steps = np.arange(first, last + 1)
    table = [np.interp(steps, points[:, 0], points[:, 1], left=np.nan) for points in curves.values()]
    axes.plot(steps, np.nanmedian(table, axis=0), color=RED, linewidth=2, label="median")
    axes.plot([], [], color=BLUE, linewidth=1, label=f"{len(curves)} sub-networks")
    axes.set_xlabel("iteration")
    axes.set_ylabel("cost f")
    axes.set_title("Convergence of the sub-networks")
    axes.legend()
    return figure


def draw_refinement(record: ScalarizedRecord) -> Figure | None:
    """Accuracy and cost of a refinement against seconds."""
    lines = [line for line in record.history if line["phase"] == "refine" and line["accepted"]]
    if not lines:
        return None
    seconds = [line["elapsed_seconds"] for line in lines]
    figure = Figure(figsize=(7, 5.6))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for name, colour in (("test", BLUE), ("validation", GREY)):
        values = [100 * line.get(f"{name}_accuracy", np.nan) for line in lines]
        if np.isfinite(values).any():
            upper.plot(
                seconds, values, "o-", color=colour, markersize=4, label=f"{name}, {values[-1]:.2f} % at the end"
            )
    control = record.metrics["control"]["test_accuracy"]
    if control is not None:
        upper.axhline(100 * control, color=ORANGE, linestyle="--", label=f"control (untrained), {percent(control)}")
    upper.set_ylabel("accuracy, %")
    upper.set_title("Refinement: accuracy (true labels) against seconds")
    upper.legend(loc="lower right")
    lower.semilogy(seconds, [line["cost"] for line in lines], "o-", color=RED, markersize=4)
    lower.set_ylabel("cost an image")
    lower.set_xlabel("seconds")
    rows = lower.twinx()
    rows.plot(seconds, [line["rows"] for line in lines], color=GREY, linewidth=1, drawstyle="steps-post")
    rows.set_ylabel("images in the sample", color=GREY)
    rows.set_ylim(bottom=0)
    rows.grid(False)
    return figure


def draw_ranks(record: ScalarizedRecord) -> Figure | None:
    """Which rank computed which sub-network when, and for how long; the phases of all ranks behind."""
    if not record.partition:
        return None
    ranks = len(record.rank_seconds)
    figure = Figure(figsize=(7, 1.4 + min(0.42 * ranks, 6) + (0.8 if record.timeline else 0.0)))
    axes = figure.subplots()
    for part in record.partition:
        axes.barh(
            part["rank"],
            part["seconds"],
            left=part["start"],
            height=0.7,
            color=BLUE,
            edgecolor="white",
            linewidth=0.4,
            alpha=0.75,
        )
    for place, phase in enumerate(record.timeline):
        end = phase["start"] + phase["seconds"]
        colour = (BLUE, RED, GREEN, ORANGE, GREY)[place % 5]
        axes.axvspan(phase["start"], end, color=colour, alpha=0.12, linewidth=0, label=phase["phase"])
    if record.timeline:
        figure.legend(ncols=3, fontsize=8, loc="outside lower center", handlelength=1.0)
    counts = np.bincount([part["rank"] for part in record.partition], minlength=ranks)
    named = range(0, ranks, -(-ranks // NAMED_RANKS))
    labels = [f"rank {r}: {counts[r]} sub-networks, {record.rank_seconds[r]:.1f} s" for r in named]
    axes.set_yticks(named, labels)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel("seconds since the first began")
    axes.set_title("Sub-networks by rank" + (", and phases" if record.timeline else ""))
    return figure


def draw_seconds(record: ScalarizedRecord) -> Figure | None:
    """Where the time went."""
    seconds = record.metrics["seconds"]
    phases = [
        (n, seconds[n])
        for n in ("load", "subnetworks", "refine", "glue", "scores", "control", "bootstrap")
        if seconds.get(n, 0) > 0
    ]
    if not phases:
        return None
    figure = Figure(figsize=(7, 2.1))
    axes = figure.subplots()
    left = 0.0
    for (name, value), colour in zip(phases, (GREY, BLUE, RED, GREEN, "#CC79A7", ORANGE, "#56B4E9"), strict=False):
        axes.barh(0, value, left=left, color=colour, label=f"{name} {value:.1f} s")
        left += value
    axes.set_yticks([])
    axes.set_xlabel("seconds")
    axes.set_title(f"Time: {seconds['total']:.1f} s in all")
    figure.legend(ncols=3, fontsize=9, loc="outside lower center", handlelength=1.0)
    return figure
