"""The tables of a layered network's run for the screen and the page: trained, control and untrained side by side."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from varpro.report.record import LayeredRecord
from varpro.report.table import Row, number, percent

ACCURACIES = (
    ("accuracy", "highest score"),
    ("nearest_centroid", "nearest class mean"),
    ("nearest_centroid_normalised", "nearest class mean, unit features"),
    ("nearest_learned_centroid", "nearest trained centroid"),
    ("discriminant", "discriminant analysis, shrinkage"),
)
RETRIEVALS = tuple(
    (f"{key}_{k}", f"{name}@{k}") for key, name in (("recall_at", "R"), ("true_positives_at", "TP")) for k in (1, 5, 10)
)
LAST_LAYERS = {
    "trained": "by gradient, with the rest",
    "varpro": "eliminated: solved for over all training images",
    "discriminant": "none trained: scores of discriminant analysis over all training images",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity of the three networks, in words."""

    name: str
    trained: str
    control: str
    untrained: str
    strong: bool = False


def _lines(
    record: LayeredRecord, part: str, names: Iterable[tuple[str, str]], said: Callable[[float | None], str]
) -> list[Line]:
    m = record.metrics
    parts = [m.get(part), (m["control"] or {}).get(part), m["untrained"].get(part)]
    lines = []
    for key, name in names:
        values = [(p or {}).get(key) for p in parts]
        if any(v is not None for v in values):
            lines.append(Line(name, said(values[0]), said(values[1]), said(values[2]), strong=key == "accuracy"))
    return lines


def accuracy_lines(record: LayeredRecord) -> list[Line]:
    """Accuracies on the test images, against true labels."""
    return _lines(record, "test", ACCURACIES, percent)


def retrieval_lines(record: LayeredRecord) -> list[Line]:
    """Retrieval among the test images."""
    return _lines(record, "test", RETRIEVALS, percent)


def feature_lines(record: LayeredRecord) -> list[Line]:
    """Scatter of the features and separability of the last layer."""
    columns = (
        ("separability", "e(W)"),
        ("separability_normalised", "e_norm(W)"),
        ("cosine", "cosine of class mean and column"),
    )
    return [
        *_lines(record, "test", [("scatter_ratio", "tr S_w / tr S_t, test")], number),
        *_lines(record, "train", [("scatter_ratio", "tr S_w / tr S_t, training")], number),
        *_lines(record, "last_layer", columns, number),
    ]


def training_lines(record: LayeredRecord) -> list[Line]:
    """Accuracies by highest score on the other parts."""
    return [
        Line(f"{name} images, highest score", *(line.trained, line.control, line.untrained))
        for part, name in (("train", "training"), ("validation", "validation"))
        for line in _lines(record, part, [("accuracy", name)], percent)
    ]


def layered_facts(record: LayeredRecord) -> list[Row]:
    """What was trained, how, and how long it took."""
    m, s = record.metrics, record.metrics["seconds"]
    net, degenerate = m["network"], m["degenerate"]
    terms = ", ".join(f"{weight:g} {name}" for name, weight in net["objective"].items())
    rows = [
        Row("network", net["name"], f"{net['parameters']:,} parameters trained, {net['embedding']} features"),
        Row("objective", terms),
        Row("last layer", net["last_layer"], LAST_LAYERS[net["last_layer"]]),
        Row("batches", f"{degenerate['batches']}", f"of {m['batch']} images, {m['epochs']} epochs"),
    ]
    if net["xi"] is not None:
        rows.append(Row("xi", number(net["xi"]), "features on the sphere of radius 1 / xi"))
    if degenerate["skipped"] or degenerate["ridge"]:
        note = f"{degenerate['skipped']} left out, {degenerate['ridge']} solved with a ridge"
        rows.append(Row("batches without a value", f"{degenerate['skipped'] + degenerate['ridge']}", note))
    if m["control"]:
        other = m["control"]["network"]
        rows.append(Row("control", other["name"], f"{other['parameters']:,} parameters, cross-entropy, same batches"))
    parts = ", ".join(f"{name} {s[name]:.1f}" for name in ("load", "training", "control") if s[name] >= 0.05)
    rows.append(Row("time", f"{s['total']:.1f} s", f"{parts}; {s['epoch']:.2f} an epoch"))
    rows.append(Row("ranks", f"{m['ranks']} x {m['threads_per_rank']} threads", f"backend {m['backend']}"))
    return rows
