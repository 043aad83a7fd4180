"""The page of results, written from finished runs and peers: nothing in it is typed by hand.

    python bench/results.py keep RUN [RUN ...] [--busy] [--results bench/results]   what a run gave, as a small file
    python bench/results.py page [--results bench/results] [--docs docs]     the page and its plots

A run is the output folder of `varpro-train`; runs of one config on one data set are put together, whatever their seeds.
Peers are what bench/results_peers.py left in the folder `peers`.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib import colormaps
from matplotlib.figure import Figure

HEAD = """# Results

Accuracy on the published test images, against their true labels, nothing pretrained and no image altered. Every line is
the mean over seeds, with the range. Sizes, ridges, rates and the number of steps come from the training and validation
images. The control of our networks has the same units, untrained, and a linear layer solved in the same way. Seconds
are those of the training and the scores, without reading the data and without the control; those of peers are of
training alone; runs that shared the machine with other programs are left out of them. All ran on {machine}, or
where the line says.
`bench/results_peers.py` trains the peers on the same images and cores, `bench/results.py` writes this page from the
files that finished runs leave.
"""
MACHINE = "2 cores of a server processor with AVX2"
TITLES = (
    "| | test accuracy, % | control, % | gain, points | validation, % | parameters | seconds | seeds | KB |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "digits": "Digits, 8 x 8"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a run or a peer gave."""

    dataset: str
    name: str
    seed: int
    test: float
    """The accuracy on the test images."""
    validation: float
    seconds: float
    """Spent on the run; of a peer, on training with what was chosen."""
    parameters: int
    kilobytes: float
    chosen: str = ""
    """The rate or ridge of a peer, and among which it was chosen on the validation images."""
    control: float | None = None
    busy: bool = False
    """Whether other programs ran beside it, so that its seconds say nothing."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Lines of seconds, validation and test accuracy, where it could be watched."""
    ours: bool = False
    machine: str = ""
    """Where it ran, if not on the machine of the page."""

    @property
    def label(self) -> str:
        """What its rows and curves are called; lines of one label are put together."""
        return label_of(self.name, self.machine)


def label_of(name: str, machine: str) -> str:
    """A name, with the machine if it is not that of the page."""
    return f"{name}, {machine}" if machine else name


def file_of(folder: Path, dataset: str, label: str, seed: int) -> Path:
    """Where a line is kept."""
    return folder / f"{dataset}-{''.join(c if c.isalnum() else '_' for c in label)}-{seed}.json"


def of_run(folder: Path, name: str | None = None) -> Line:
    """What a finished run gave; name : of the config, the folder's up to its last hyphen if not given."""
    metrics = json.loads((folder / "metrics.json").read_text())
    config = yaml.safe_load((folder / "config.resolved.yaml").read_text())
    seconds, control = metrics["seconds"], metrics.get("control") or {}
    spent = seconds["total"] - seconds["load"] - (control.get("seconds") or 0.0)
    return Line(
        dataset=metrics["dataset"],
        name=name or folder.name.rsplit("-", 1)[0],
        seed=config["seed"],
        test=metrics["test"]["accuracy"],
        validation=metrics["validation"]["accuracy"],
        seconds=spent,
        parameters=metrics["parameters"]["nonlinear"] + metrics["parameters"]["linear"],
        kilobytes=(folder / "model.h5").stat().st_size / 1024,
        control=control.get("test_accuracy"),
        curve=_curve(folder, metrics, spent),
        ours=True,
    )


def _curve(folder: Path, metrics: dict[str, Any], spent: float) -> list[dict[str, float]]:
    """Accuracies by seconds of the whole run: after each accepted step of the refinement, and at the end."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line.get("phase") == "refine" and "test_accuracy" in line]
    before = metrics["seconds"].get("subnetworks") or 0.0
    found = [
        {
            "seconds": before + step["elapsed_seconds"],
            "validation": step["validation_accuracy"],
            "test": step["test_accuracy"],
        }
        for step in steps
    ]
    end = {"seconds": spent, "validation": metrics["validation"]["accuracy"], "test": metrics["test"]["accuracy"]}
    return [*found, end]


def row(lines: list[Line]) -> str:
    """A row of the table: the runs of one config, or one peer's."""
    first = lines[0]
    controls = [line.control for line in lines if line.control is not None]
    gain = f"{100 * (np.mean([line.test for line in lines]) - np.mean(controls)):+.2f}" if controls else ""
    name = f"**`{first.name}`**" if first.ours else f"{first.name}{f' ({first.chosen})' if first.chosen else ''}"
    cells = [
        name + (f", on {first.machine}" if first.machine else ""),
        spread([100 * line.test for line in lines], 2),
        spread([100 * c for c in controls], 2),
        gain,
        spread([100 * line.validation for line in lines], 2),
        f"{first.parameters:,}" if first.parameters else "",
        spread([line.seconds for line in lines if not line.busy], 0),
        str(len(lines)),
        f"{first.kilobytes:,.0f}" if first.kilobytes else "",
    ]
    return "| " + " | ".join(cells) + " |"


def spread(values: list[float], digits: int) -> str:
    """A mean, with the range of several values."""
    if not values:
        return ""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def draw(groups: list[list[Line]], path: Path) -> None:
    """Test error against seconds; ours in full lines, peers dashed; the first seed of each."""
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=colormaps["tab20"].colors if len(groups) > 10 else colormaps["tab10"].colors)
    for lines in groups:
        line = min(lines, key=lambda one: (one.busy, one.seed))
        if line.busy:
            continue
        points = line.curve or [{"seconds": line.seconds, "test": line.test}]
        x, y = [p["seconds"] for p in points], [100 * (1 - p["test"]) for p in points]
        style = {"marker": "o", "linewidth": 2.0} if line.ours else {"marker": "s", "linestyle": "--", "alpha": 0.7}
        axes.plot(x, y, markersize=4 if len(x) > 1 else 8, label=line.label, **style)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel="test error, % (true labels)")
    low, high = axes.get_ylim()
    coarse = [t for t in (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60) if low <= t <= high]
    fine = [t / 10 for t in range(1, 1000, 2 if high < 20 else 10) if low <= t / 10 <= high]
    ticks = coarse if len(coarse) > 2 else fine
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    low, high = axes.get_xlim()
    ticks = [t for decade in (1, 10, 100, 1000, 10000) for t in (decade, 2 * decade, 5 * decade) if low <= t <= high]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=110)


def page(results: Path, docs: Path, machine: str) -> str:
    """The page; its plots are written beside it."""
    by_name: dict[str, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for path in [*sorted((results / "runs").glob("*.json")), *sorted((results / "peers").glob("*.json"))]:
        line = Line(**json.loads(path.read_text()))
        by_name[line.dataset][line.label].append(line)
    text, folder = HEAD.format(machine=machine), docs / "_static" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for dataset in sorted(by_name, key=lambda name: (list(NAMES).index(name) if name in NAMES else len(NAMES), name)):
        groups = sorted(by_name[dataset].values(), key=lambda lines: -float(np.mean([line.test for line in lines])))
        title = NAMES.get(dataset, dataset)
        text += f"\n## {title}\n\n{TITLES}\n" + "\n".join(row(lines) for lines in groups) + "\n"
        if sum(max(1, len(lines[0].curve)) for lines in groups) > 1:  # a plot of one point says nothing
            draw(groups, folder / f"{dataset}.png")
            text += f"\n![Test error against seconds on {title}](_static/results/{dataset}.png)\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep the results of runs, and write the page of them.")
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep")
    keep.add_argument("runs", nargs="+", type=Path)
    keep.add_argument("--busy", action="store_true", help="other programs ran beside them: their seconds say nothing")
    keep.add_argument("--machine", default="", help="where they ran, if not on the machine of the page")
    keep.add_argument("--name", help="of the config; the folder's, up to its last hyphen, if not given")
    write = commands.add_parser("page")
    write.add_argument("--docs", type=Path, default=Path("docs"))
    write.add_argument("--machine", default=MACHINE)
    given = parser.parse_args()
    if given.command == "page":
        (given.docs / "results.md").write_text(page(given.results, given.docs, given.machine))
        return
    for folder in given.runs:
        line = replace(of_run(folder, given.name), busy=given.busy, machine=given.machine)
        path = file_of(given.results / "runs", line.dataset, line.label, line.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(line), indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
