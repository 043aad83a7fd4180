"""How true calibrated probabilities are: the rows of the table and the reliability plot, for any kind of network."""

import numpy as np
from matplotlib.figure import Figure

from varpro.report.drawing import BLUE, GREY
from varpro.report.record import Record
from varpro.report.table import Row, number, percent

FORMS = {
    "temperature": "one slope for all outputs, a bias for each class",
    "logistic": "logistic regression on the outputs",
}
RELIABILITY = "Accuracy against predicted probability on the test set, and the share of the images by probability"


def probability_rows(record: Record) -> list[Row]:
    """The calibration and its errors, or one line that says why there is none."""
    c = record.metrics["calibration"]
    if c["method"] is None:
        return [Row("probabilities", "none", c["reason"].removeprefix("no probabilities: "))]
    held_out = c["held_out_log_loss"]
    compared = ", ".join(f"{name} {number(value)}" for name, value in held_out.items())
    return [
        Row("calibration", c["method"], f"{FORMS[c['method']]}, fitted to {c['images']:,} validation images"),
        Row("log-loss, held out", number(held_out[c["method"]]), f"on folds of these: {compared}"),
        Row("log-loss", number(c["test"]["log_loss"]), "test images, true labels"),
        Row(
            "expected calibration error",
            percent(c["test"]["expected_calibration_error"]),
            "test images: mean distance between probability and accuracy",
        ),
    ]


def draw_reliability(record: Record) -> Figure | None:
    """Accuracy by the probability of the predicted class, with two standard errors, over the share of the images."""
    c = record.metrics["calibration"]
    if c["method"] is None:
        return None
    bins = c["test"]["bins"]
    confidence, accuracy, images = (np.array([b[key] for b in bins]) for key in ("confidence", "accuracy", "images"))
    figure = Figure(figsize=(7, 5.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfectly calibrated")
    # add two successes and two failures, so that a bin of few images, all correct, has an error too (Agresti, Coull)
    share = (accuracy * images + 2) / (images + 4)
    spread = 2 * np.sqrt(share * (1 - share) / (images + 4))
    low, high = np.minimum(share - spread, accuracy), np.maximum(share + spread, accuracy)
    bars = [accuracy - np.maximum(low, 0), np.minimum(high, 1) - accuracy]
    label = "test images, with two standard errors"
    upper.errorbar(confidence, accuracy, yerr=bars, fmt="o", color=BLUE, markersize=5, capsize=2, label=label)
    upper.set_xlim(0, 1)
    upper.set_ylim(-0.03, 1.03)
    upper.set_ylabel("share that is correct")
    error = c["test"]["expected_calibration_error"]
    upper.set_title(f"Reliability of the probabilities: expected calibration error {percent(error)}")
    upper.legend(loc="lower right")
    lows, widths = [b["low"] for b in bins], [b["high"] - b["low"] for b in bins]
    lower.bar(lows, 100 * images / images.sum(), width=widths, align="edge", color=BLUE, edgecolor="white")
    lower.set_yscale("log")
    lower.set_ylim(50 * images.min() / images.sum(), 150)
    lower.yaxis.set_major_formatter("{x:g}")
    lower.yaxis.set_minor_formatter("")
    lower.set_ylabel("images, %")
    lower.set_xlabel("probability of the predicted class")
    return figure
