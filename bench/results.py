"""The page of results, written from finished runs: nothing in it is typed by hand.

    python bench/results.py runs/mnist_conv-0 runs/mnist_conv-1 ... [--peers mnist fashion] [--page docs/results.md]

A run is the output folder of `varpro-train`; runs of one config on one data set are put together, whatever their seeds.
Peers from scikit-learn are trained here, on the same training images and judged on the same test images: logistic
regression, a perceptron of 800 hidden units and gradient-boosted trees, each with its defaults or with what is named
in `PEERS`, so that nothing is chosen on the test images.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from varpro.train.data.datasets import load_dataset

HEAD = """# Results

Accuracy on the published test images, against their true labels. Each line is the mean over the seeds, with the range;
sizes, ridges and the number of steps come from the training and validation images. The control has the same units,
untrained, glued in the same way. Seconds are those of the whole run without reading the data and without the control,
on {machine}. Written by `bench/results.py`.
"""

TITLES = "| | test accuracy, % | control, % | gain, points | parameters | seconds | seeds | KB |"


@dataclass(frozen=True)
class Line:
    """What is told about one config, or one peer, on one data set."""

    name: str
    accuracy: list[float]
    control: list[float]
    parameters: int
    seconds: list[float]
    kilobytes: float


def of_run(folder: Path) -> tuple[str, Line]:
    """The data set, and what a finished run gave."""
    metrics = json.loads((folder / "metrics.json").read_text())
    config = yaml.safe_load((folder / "config.resolved.yaml").read_text())
    seconds = metrics["seconds"]
    control = metrics.get("control") or {}
    spent = seconds["total"] - seconds["load"] - (control.get("seconds") or 0.0)
    return (
        metrics["dataset"],
        Line(
            name=Path(config["output"]).name,
            accuracy=[metrics["test"]["accuracy"]],
            control=[control["test_accuracy"]] if control.get("test_accuracy") is not None else [],
            parameters=metrics["parameters"]["nonlinear"] + metrics["parameters"]["linear"],
            seconds=[spent],
            kilobytes=(folder / "model.h5").stat().st_size / 1024,
        ),
    )


def together(lines: list[Line]) -> Line:
    """The runs of one config."""
    lists = {name: [v for line in lines for v in getattr(line, name)] for name in ("accuracy", "control", "seconds")}
    return replace(lines[0], **lists)


def logistic(seed: int) -> object:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=200, random_state=seed)


def perceptron(seed: int) -> object:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((800,), early_stopping=True, max_iter=15, random_state=seed)


def boosting(seed: int) -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=True, max_iter=100, random_state=seed)


PEERS: dict[str, Callable[[int], object]] = {
    "logistic regression": logistic,
    "perceptron, 800 hidden": perceptron,
    "gradient-boosted trees": boosting,
}


def of_peer(dataset: str, name: str, validation: int, seeds: int = 1) -> Line:
    """A peer on the training images that our runs have, without those that they keep for validation."""
    data = load_dataset(dataset)
    x, labels = data.train.images, data.train.labels
    x, labels = (
        x[: len(x) - validation].reshape(len(x) - validation, -1) / np.float32(255),
        labels[: len(x) - validation],
    )
    test = data.test.images.reshape(len(data.test.images), -1) / np.float32(255)
    accuracy, seconds = [], []
    for seed in range(seeds):
        model, clock = PEERS[name](seed), time.perf_counter()
        model.fit(x, labels)  # type: ignore[attr-defined]
        seconds.append(time.perf_counter() - clock)
        accuracy.append(float(model.score(test, data.test.labels)))  # type: ignore[attr-defined]
    weights = sum(np.size(w) for n in ("coef_", "coefs_", "intercept_") for w in _arrays(getattr(model, n, [])))
    return Line(name, accuracy, [], int(weights), seconds, weights * 8 / 1024)


def _arrays(weights: object) -> list[np.ndarray]:
    return list(weights) if isinstance(weights, list) else [np.asarray(weights)]


def row(line: Line) -> str:
    """A line of the table."""

    def spread(values: list[float], scale: float, digits: int) -> str:
        if not values:
            return ""
        mean = f"{scale * np.mean(values):.{digits}f}"
        if len(values) == 1:
            return mean
        return f"{mean} ({scale * min(values):.{digits}f} to {scale * max(values):.{digits}f})"

    gain = f"{100 * (np.mean(line.accuracy) - np.mean(line.control)):+.2f}" if line.control else ""
    size = f"{line.parameters:,}" if line.parameters else ""
    cells = [line.name, spread(line.accuracy, 100, 2), spread(line.control, 100, 2), gain, size]
    kilobytes = f"{line.kilobytes:,.0f}" if line.kilobytes else ""
    return "| " + " | ".join([*cells, spread(line.seconds, 1, 0), str(len(line.accuracy)), kilobytes]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the page of results.")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--peers", nargs="*", default=[], help="data sets on which to train the peers, too")
    parser.add_argument("--validation", type=int, default=10000, help="images that our runs keep for validation")
    parser.add_argument("--machine", default="2 cores", help="what to call the machine")
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    lines: dict[str, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for folder in given.runs:
        dataset, line = of_run(folder)
        lines[dataset][line.name].append(line)
    text = HEAD.format(machine=given.machine)
    for dataset in lines:
        found = [together(runs) for runs in lines[dataset].values()]
        if dataset in given.peers:
            found += [of_peer(dataset, name, given.validation) for name in PEERS]
        found.sort(key=lambda line: -float(np.mean(line.accuracy)))
        text += f"\n## {dataset}\n\n{TITLES}\n|---|---|---|---|---|---|---|---|\n"
        text += "\n".join(row(line) for line in found) + "\n"
    print(text)
    if given.page:
        given.page.write_text(text)


if __name__ == "__main__":
    main()
