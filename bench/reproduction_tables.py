"""The tables of docs/reproductions.md: published figures beside those of bench/reproduce.py.

A table stands between <!-- table: NAME --> and <!-- end -->; what is between is written anew, the rest of the page is
not touched.  Published figures are per cent as the papers print them; a dash where a paper has none.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from varpro.losses import cross_entropy_floor
from varpro.train.layered.plan import plan_network

Results = Mapping[str, Any]
NOTHING, NOT_RUN = "-", "not run"
DATA = ("mnist", "fashion")

INTRACLASS = {  # by lambda, "" for cross-entropy: nearest centroid, highest score; the same with embeddings of norm 1
    ("mnist", 2): {
        "": (90.9, 98.6, 98.4, 98.6),
        "1": (97.3, 98.5, 98.0, 98.1),
        "0.5": (97.1, 98.6, 98.5, 98.2),
        "0.05": (97.2, 98.6, 98.4, 98.5),
    },
    ("mnist", 4): {
        "": (97.5, 99.4, 98.8, 99.4),
        "1": (99.2, 99.4, 98.8, 99.5),
        "0.5": (99.1, 99.5, 98.8, 99.5),
        "0.05": (99.2, 99.5, 99.0, 99.4),
    },
    ("fashion", 2): {
        "": (74.6, 89.5, 81.4, 89.4),
        "1": (88.0, 88.2, 71.5, 88.4),
        "0.5": (87.0, 89.0, 73.8, 88.9),
        "0.05": (86.7, 89.5, 82.0, 89.1),
    },
    ("fashion", 4): {
        "": (86.9, 92.4, 89.4, 92.0),
        "1": (89.1, 90.4, 88.4, 91.5),
        "0.5": (90.2, 91.8, 88.9, 91.3),
        "0.05": (91.0, 92.7, 89.1, 92.6),
    },
}
INWARD = {"fashion": {"": 89.64, "100": 93.00}, "mnist": {"": 98.40, "100": 99.33, "1000": 90.20}}
RETRIEVAL = {"": (86.75, 95.63, 97.22, 86.70, 86.60, 85.60), "100": (88.75, 95.88, 97.33, 89.74, 89.90, 90.00)}
INWARD_ELSEWHERE = {  # without and with the layer, xi = 100
    "CIFAR-10, SimpleNet": (58.2, 64.0),
    "SVHN, SimpleNet": (93.20, 95.05),
    "URDU, SimpleNet": (74.03, 77.76),
    "CIFAR-100, GoogLeNet": (59.23, 60.44),
}
FEEDBACK = {  # CIFAR-10 without augmentation: error without and with, e(W) without and with in 1e-8
    "NiN": (13.76, 10.03, 8.56, 6.29),
    "VGG-16": (10.48, 9.17, 7.32, 6.07),
    "Highway": (12.98, 9.13, 7.32, 6.73),
    "ResNet-32": (8.64, 6.01, 6.55, 3.57),
    "DenseNet-40": (9.42, 5.91, 3.45, 2.16),
}
NULLSPACE = {
    "CIFAR-10": (93.51, 94.01),
    "CIFAR-100": (92.26, 92.33),
    "STL-10": (93.74, 96.31),
    "ImageNet": (94.32, 98.87),
}
LAST = "test.accuracy"
RULES = ("test.nearest_centroid", "test.discriminant")
RATIO = "test.scatter_ratio"


class Source:
    """Figures of one network of one experiment: `prefix` is empty, "control." or "untrained."."""

    def __init__(self, results: Results, name: str, prefix: str = "") -> None:
        self.found, self.prefix = results.get(name), prefix

    def __call__(self, figure: str, scale: float = 100.0, digits: int = 1) -> str:
        """Mean, with smallest and largest where there are several seeds."""
        if self.found is None:
            return NOT_RUN
        values = self.found["figures"].get(self.prefix + figure)
        if values is None:
            return NOTHING
        mean, low, high = (f"{scale * values[key]:.{digits}f}" for key in ("mean", "min", "max"))
        return mean if len(self.found["seeds"]) == 1 else f"{mean} ({low}..{high})"

    def mean(self, figure: str) -> float | None:
        """The figure itself."""
        values = self.found and self.found["figures"].get(self.prefix + figure)
        return values["mean"] if values else None

    @property
    def seeds(self) -> str:
        return NOTHING if self.found is None else str(len(self.found["seeds"]))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def intraclass(results: Results, data: str, dimensions: int) -> str:
    """Tables 1 and 2 for one data set and size of embedding, plain embeddings."""
    stem = f"iv-{data}-{dimensions}d"
    first, published = f"{stem}-eliminated-1", INTRACLASS[data, dimensions]

    def row(label: str, source: Source, key: str) -> list[str]:
        paper = [f"{value:.1f}" for value in published[key][:2]]
        learned = source("test.nearest_learned_centroid")
        ours = (source(RULES[0]), paper[0], learned, source("test.nearest_centroid_normalised"), source(LAST), paper[1])
        return [label, source.seeds, *ours, source(RATIO, 1.0, 3)]

    rows = [row("cross-entropy", Source(results, first, "control."), "")]
    for weight in ("1", "0.5", "0.05"):
        for mode in ("learned", "eliminated"):
            source = Source(results, f"{stem}-{mode}-{weight}")
            if source.found:
                rows.append(row(f"lambda {weight}, {mode}", source, weight))
    start = Source(results, first, "untrained.")
    rows.append(["untrained, class means", start.seeds, start(RULES[0]), *[NOTHING] * 5, start(RATIO, 1.0, 3)])
    rows.append(["untrained, shrinkage LDA", start.seeds, *[NOTHING] * 4, start(RULES[1]), *[NOTHING] * 2])
    header = ["", "seeds", "nearest class mean", "paper", "nearest learned centroid", "class mean, rows of norm 1"]
    return table([*header, "highest score", "paper", "tr S_w / tr S_t"], rows)


def unit_intraclass(results: Results) -> str:
    """Tables 1 and 2, networks trained with embeddings of norm 1."""
    rows = []
    for data in ("mnist", "fashion"):
        name, published = f"iv-{data}-2d-unit-eliminated-1", INTRACLASS[data, 2]
        for label, prefix, key in (("cross-entropy", "control.", ""), ("lambda 1, eliminated", "", "1")):
            source, paper = Source(results, name, prefix), [f"{value:.1f}" for value in published[key][2:]]
            rows.append([data, label, source.seeds, source(RULES[0]), paper[0], source(LAST), paper[1]])
    return table(["", "", "seeds", "nearest class mean", "paper", "highest score", "paper"], rows)


def inward(results: Results, data: str) -> str:
    """Appendix A: accuracy by xi; the largest score is |w| / xi, and the floor is what that leaves of the loss."""
    control = Source(results, f"is-{data}-xi1", "control.")
    sources = {"": control} | {xi: Source(results, f"is-{data}-xi{xi}") for xi in ("1", "10", "100", "1000")}
    rows = []
    for xi, source in sources.items():
        norm, paper = source.mean("last_layer.largest_norm"), INWARD[data].get(xi)
        floor = f"{cross_entropy_floor(n_classes=10, radius=norm, xi=float(xi)):.3f}" if xi and norm else NOTHING
        shown = NOTHING if paper is None else f"{paper:.2f}"
        rows.append([f"xi = {xi}" if xi else "without", source.seeds, source(LAST), shown, *(source(r) for r in RULES),
                     source("last_layer.largest_norm", 1.0, 2), floor])  # fmt: skip
    start = Source(results, f"is-{data}-xi1", "untrained.")
    rows.append(["untrained", start.seeds, NOTHING, NOTHING, *(start(r) for r in RULES), NOTHING, NOTHING])
    header = ["layer", "seeds", "highest score", "paper", "nearest class mean", "shrinkage LDA", "largest norm of w_c"]
    return table([*header, "least cross-entropy at that norm"], rows)


def published_inward(results: Results) -> str:
    """Its other data sets."""
    rows = [[name, f"{a:.2f}", f"{b:.2f}", NOT_RUN] for name, (a, b) in INWARD_ELSEWHERE.items()]
    return table(["test accuracy", "paper, without", "paper, with", "ours"], rows)


def retrieval(results: Results, data: str) -> str:
    """Table 6."""
    names = [f"test.{kind}_{k}" for kind in ("recall_at", "true_positives_at") for k in (1, 5, 10)]
    rows = []
    choices = (("without", "xi1", "control.", ""), ("xi = 100", "xi100", "", "100"), ("xi = 1", "xi1", "", None),
               ("xi = 10", "xi10", "", None), ("untrained", "xi1", "untrained.", None))  # fmt: skip
    for label, xi, prefix, key in choices:
        source = Source(results, f"is-{data}-{xi}", prefix)
        rows.append([label, source.seeds, *(source(name) for name in names)])
        if key is not None:
            rows.append([f"{label}, paper", NOTHING, *(f"{value:.2f}" for value in RETRIEVAL[key])])
    return table(["layer", "seeds", "R@1", "R@5", "R@10", "TP@1", "TP@5", "TP@10"], rows)


def nullspace(results: Results, data: str) -> str:
    """The small network: exact, ridge and cross-entropy."""
    first = f"ns-{data}-ridge"
    sources = {
        "ridge, logdet": Source(results, first),
        "exact, logdet": Source(results, f"ns-{data}-exact"),
        "exact, as published": Source(results, f"ns-{data}-published"),
        "cross-entropy": Source(results, first, "control."),
    }
    figures = (LAST, *RULES)
    rows = [[label, s.seeds, *(s(f) for f in figures), s(RATIO, 1.0, 3)] for label, s in sources.items()]
    start = Source(results, first, "untrained.")
    rows.append(["untrained", start.seeds, NOTHING, *(start(rule) for rule in RULES), start(RATIO, 1.0, 3)])
    header = ["objective", "seeds", "highest score", "nearest class mean", "shrinkage LDA", "tr S_w / tr S_t"]
    return table(header, rows)


def published_nullspace(results: Results) -> str:
    """Table of the paper for large networks."""
    rows = [[data, *(f"{value:.2f}" for value in pair), NOT_RUN] for data, pair in NULLSPACE.items()]
    return table(["test accuracy", "paper, VGG16 with dense layers", "paper, NullSpaceNet", "ours"], rows)


def parameters(results: Results) -> str:
    """Trained numbers of the networks, counted."""
    counted = ((10, "nullspacenet", 18_411_936), (10, "vgg16_fc", 134_309_962))
    rows = []
    for n_classes, name, paper in counted:
        plan = plan_network(name, (3, 64, 64), n_classes)
        rows.append([f"{name}, {n_classes} classes", f"{paper:,}", f"{plan.parameters:,}"])
    return table(["parameters", "paper", "ours"], rows)


def separability(results: Results, data: str) -> str:
    """LeNet-5 with and without the loss."""
    first = f"fb-{data}-feedback"
    sources = {
        "without": Source(results, first, "control."),
        "feed-backward, 1e-3": Source(results, first),
        "feed-backward, 1": Source(results, f"fb-{data}-feedback-1"),
        "penalty on e_norm, 0.1": Source(results, f"fb-{data}-penalty"),
    }
    names = ("separability", "separability_normalised", "cosine")
    rows = [
        [label, s.seeds, s(LAST, 100.0, 2), *(s(f"last_layer.{name}", 1.0, 3) for name in names), s(RULES[0], 100, 2)]
        for label, s in sources.items()
    ]
    start = Source(results, first, "untrained.")
    rows.append(["untrained, class means", start.seeds, *[NOTHING] * 4, start(RULES[0], 100, 2)])
    rows.append(["untrained, shrinkage LDA", start.seeds, start(RULES[1], 100, 2), *[NOTHING] * 4])
    return table(["loss", "seeds", "accuracy", "e(W)", "e_norm(W)", "cos(mean, w)", "nearest class mean"], rows)


def published_separability(results: Results) -> str:
    """CIFAR-10 rows of the paper."""
    rows = [[net, f"{a:.2f}", f"{b:.2f}", f"{c:.2f}", f"{d:.2f}", NOT_RUN] for net, (a, b, c, d) in FEEDBACK.items()]
    return table(["CIFAR-10", "error without", "with", "e(W) without, 1e-8", "with", "ours"], rows)


TABLES: dict[str, Callable[[Results], str]] = {
    **{f"iv-{data}-{d}d": partial(intraclass, data=data, dimensions=d) for data in DATA for d in (2, 4)},
    "iv-unit": unit_intraclass,
    **{f"is-{data}": partial(inward, data=data) for data in DATA},
    "is-published": published_inward,
    "is-retrieval": partial(retrieval, data="fashion"),
    **{f"ns-{data}": partial(nullspace, data=data) for data in DATA},
    "ns-published": published_nullspace,
    "ns-parameters": parameters,
    **{f"fb-{data}": partial(separability, data=data) for data in DATA},
    "fb-published": published_separability,
}


def fill_document(document: Path, results: Results) -> None:
    """Write the tables of a page; a marker of no table is a KeyError."""
    text = document.read_text()
    pattern = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
    document.write_text(pattern.sub(lambda found: f"{found[1]}{TABLES[found[2]](results)}\n{found[3]}", text))
