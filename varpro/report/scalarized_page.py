"""report.html of a scalarized network's run."""

from collections import Counter

from varpro.report.page import render
from varpro.report.probabilities import RELIABILITY, probability_rows
from varpro.report.record import JsonObject, ScalarizedRecord
from varpro.report.scalarized_table import accuracy_rows, bootstrap_rows, cost_rows, gain
from varpro.report.table import percent

ALTERNATIVES = {
    "accuracy": "Bars of the accuracies against true labels",
    "convergence": "Cost by iteration for every sub-network, with the median",
    "refinement": "Accuracy and cost of the refinement against seconds",
    "pruning": "Validation accuracy against the parameters that are left as units are dropped",
    "reliability": RELIABILITY,
    "confusion": "Confusion matrix of the test set",
    "units": "Matrices of the units that weigh most as red and blue images",
    "firing": "Test images, beside each what the strongest filters answer at every place, and the cells",
    "misclassified": "Misclassified test images with true and predicted class",
    "ranks": "Timeline of the sub-networks on each rank",
    "seconds": "Seconds of each phase",
}


def render_scalarized_page(record: ScalarizedRecord, plots: dict[str, bytes]) -> str:
    """The page as a string; plots are PNG bytes by name."""
    above = gain(record)
    return render(
        "report.html.j2",
        record,
        plots,
        ALTERNATIVES,
        headline=percent(record.metrics["test"]["accuracy"]),
        control=percent(record.metrics["control"]["test_accuracy"]),
        gain=None if above is None else f"{100 * above:+.2f} points",
        probabilities=probability_rows(record),
        accuracy=accuracy_rows(record),
        bootstrap=bootstrap_rows(record),
        cost=cost_rows(record),
        facts=_facts(record),
        partition=record.partition,
    )


def _conduct(m: JsonObject) -> list[tuple[str, str]]:
    """What a run on a cluster is asked for afterwards: failures, checkpoints, traffic."""
    facts = []
    if left_out := m.get("left_out"):
        listed = ", ".join(f"number {one['index']} ({one['reason']})" for one in left_out[:3])
        facts.append(("sub-networks left out", f"{len(left_out)}: {listed}{' ...' if len(left_out) > 3 else ''}"))
    kept = m.get("checkpoint") or {}
    if kept.get("bytes"):
        share = 100 * kept["seconds"] / m["seconds"]["total"]
        restored = f", {kept['restored']} states taken up" if kept["restored"] else ""
        facts.append(("checkpoints", f"{kept['bytes'] / 1e6:.1f} MB, {share:.1f} % of the time{restored}"))
    if len(traffic := m.get("traffic") or []) > 1:
        moved, waited = (max(one[key] for one in traffic) for key in ("bytes", "waited_seconds"))
        facts.append(("between ranks", f"at most {moved / 1e6:.0f} MB a rank, {waited:.1f} s of waiting"))
    return facts


def _facts(record: ScalarizedRecord) -> list[tuple[str, str]]:
    m = record.metrics
    statuses = Counter(part["status"] for part in record.partition)
    facts = [
        ("parameters", f"{m['parameters']['nonlinear']:,} nonlinear, {m['parameters']['linear']:,} linear"),
        (
            "gluing",
            f"ridge {m['glue']['ridge']:.3g}, rank {m['glue']['rank']}, condition {m['glue']['condition']:.2g}",
        ),
    ]
    if statuses:
        facts.append(("sub-networks ended by", ", ".join(f"{name} {count}" for name, count in statuses.most_common())))
    facts += _conduct(m)
    if pruned := m.get("prune"):
        facts.append(("pruning", f"{pruned['units']} of {pruned['units_before']} units kept"))
    if m["refine"]["iterations"]:
        facts.append(("refinement", f"{m['refine']['iterations']} steps, {m['refine']['products']} products"))
    return facts
