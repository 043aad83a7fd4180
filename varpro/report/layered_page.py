"""report.html of a layered network's run."""

from varpro.report.layered_table import accuracy_lines, feature_lines, layered_facts, retrieval_lines, training_lines
from varpro.report.page import render
from varpro.report.probabilities import RELIABILITY, probability_rows
from varpro.report.record import LayeredRecord
from varpro.report.table import percent

LAYERED_ALTERNATIVES = {
    "learning": "Loss and accuracies by epoch, with the control",
    "embedding": "Test images as points of a plane by class: trained, control, untrained",
    "epochs": "The same points after some epochs",
    "spectrum": "Eigenvalues of the null-space objective",
    "scatter": "Share of the scatter within classes by epoch",
    "separability": "Separability of the last layer by epoch",
    "retrieval": "Queries and their nearest test images, those of another class framed",
    "reliability": RELIABILITY,
    "confusion": "Confusion matrix of the test set",
    "misclassified": "Misclassified test images with true and predicted class",
}


def render_layered_page(record: LayeredRecord, plots: dict[str, bytes]) -> str:
    """The page as a string; plots are PNG bytes by name."""
    m = record.metrics
    control = m["control"]["test"]["accuracy"] if m["control"] else None
    return render(
        "network.html.j2",
        record,
        plots,
        LAYERED_ALTERNATIVES,
        headline=percent(m["test"]["accuracy"]),
        control=percent(control),
        untrained=percent(m["untrained"]["test"]["discriminant"]),
        probabilities=probability_rows(record),
        accuracy=accuracy_lines(record),
        training=training_lines(record),
        features=feature_lines(record),
        retrieval=retrieval_lines(record),
        facts=layered_facts(record),
    )
