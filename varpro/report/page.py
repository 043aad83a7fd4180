"""report.html: one page that needs nothing but itself."""

import base64
from collections import Counter
from importlib import resources
from typing import Any

import jinja2
import yaml

from varpro import __version__
from varpro.report.record import RunRecord
from varpro.report.table import accuracy_rows, bootstrap_rows, cost_rows, gain, percent

TEMPLATES = resources.files("varpro.report").joinpath("templates")
ALTERNATIVES = {
    "accuracy": "Bars of the accuracies against true labels",
    "convergence": "Cost by iteration for every sub-network, with the median",
    "refinement": "Accuracy and cost of the refinement against seconds",
    "confusion": "Confusion matrix of the test set",
    "units": "Learnt matrices of some units as red and blue images",
    "misclassified": "Misclassified test images with true and predicted class",
    "ranks": "Timeline of the sub-networks on each rank",
    "seconds": "Seconds of each phase",
}


def render_page(record: RunRecord, plots: dict[str, bytes]) -> str:
    """The page as a string; plots are PNG bytes by name."""
    above = gain(record)
    return template("report.html.j2").render(
        version=__version__,
        metrics=record.metrics,
        config=yaml.safe_dump(record.config, sort_keys=False),
        headline=percent(record.metrics["test"]["accuracy"]),
        control=percent(record.metrics["control"]["test_accuracy"]),
        gain=None if above is None else f"{100 * above:+.2f} points",
        accuracy=accuracy_rows(record),
        bootstrap=bootstrap_rows(record),
        cost=cost_rows(record),
        facts=_facts(record),
        plots=embedded(plots),
        alternatives=ALTERNATIVES,
        partition=record.partition,
    )


def template(name: str) -> jinja2.Template:
    """A page without its values; what is missing among them is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: TEMPLATES.joinpath(file).read_text("utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def embedded(plots: dict[str, bytes]) -> dict[str, str]:
    """Addresses that are the images themselves."""
    return {name: "data:image/png;base64," + base64.b64encode(png).decode("ascii") for name, png in plots.items()}


def _facts(record: RunRecord) -> list[tuple[str, Any]]:
    m = record.metrics
    statuses = Counter(part["status"] for part in record.partition)
    facts = [
        ("parameters", f"{m['parameters']['nonlinear']:,} nonlinear, {m['parameters']['linear']:,} linear"),
        (
            "glueing",
            f"ridge {m['glue']['ridge']:.3g}, rank {m['glue']['rank']}, condition {m['glue']['condition']:.2g}",
        ),
    ]
    if statuses:
        facts.append(("sub-networks ended by", ", ".join(f"{name} {count}" for name, count in statuses.most_common())))
    if m["refine"]["iterations"]:
        facts.append(("refinement", f"{m['refine']['iterations']} steps, {m['refine']['products']} products"))
    return facts
