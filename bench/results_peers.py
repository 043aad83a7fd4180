"""Other ways to classify the same images, for the page of results; each finished one is a JSON file.

    python bench/results_peers.py mnist [--only LeNet ...] [--seeds 0 1 2] [--output bench/results/peers]

Logistic regression, a perceptron and gradient-boosted trees come from scikit-learn, ridge on random Fourier features
from NumPy, networks under Adam from PyTorch (bench/results_torch.py).  All see the training images that our runs see,
without those kept for validation; a ridge or a rate is chosen on the validation images.  What is finished already is
not repeated.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from results import Line, file_of, label_of

from varpro.arrays import Array
from varpro.train.data.datasets import load_dataset
from varpro.train.data.parts import Part, Split

FEATURES = 4000
"""Random Fourier features, as many as our networks have columns."""
RIDGES = (1e-7, 1e-6, 1e-5, 1e-4)
"""Ridges per row of the features to choose from."""


def flat(part: Part) -> Array:
    """Pixels from 0 to 1, (n, pixels) float32."""
    pixels, scale = part.images.reshape(len(part), -1), 255 if part.images.dtype == np.uint8 else 1
    return pixels.astype(np.float32) / np.float32(scale)


def of_sklearn(make: Callable[[int], Any]) -> Callable[[Split, int], dict[str, Any]]:
    """A peer from scikit-learn."""

    def run(split: Split, seed: int) -> dict[str, Any]:
        model, x, clock = make(seed), flat(split.train), time.perf_counter()
        model.fit(x, split.train.labels)
        seconds = time.perf_counter() - clock
        weights = [w for name in ("coef_", "coefs_", "intercept_", "intercepts_") for w in _arrays(model, name)]
        parameters = sum(w.size for w in weights)
        return {
            "test": float(model.score(flat(split.test), split.test.labels)),
            "validation": float(model.score(flat(split.validation), split.validation.labels)),
            "seconds": seconds,
            "parameters": parameters,
            "kilobytes": sum(w.nbytes for w in weights) / 1024,
        }

    return run


def _arrays(model: Any, name: str) -> list[Array]:
    found = getattr(model, name, [])
    return list(found) if isinstance(found, list) else [np.asarray(found)]


def logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=100, random_state=seed)


def perceptron(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((800,), early_stopping=True, max_iter=15, random_state=seed)


def boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=True, max_iter=100, random_state=seed)


def fourier_features(split: Split, seed: int) -> dict[str, Any]:
    """Ridge regression on cos(W x + b), W Gaussian with the median distance of two images as its length (Rahimi and
    Recht 2007)."""
    rng = np.random.default_rng(seed)
    x, clock = flat(split.train), time.perf_counter()
    pairs = rng.integers(len(x), size=(2, 2000))
    length = float(np.median(np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1)))
    w = rng.standard_normal((x.shape[1], FEATURES)).astype(np.float32) / np.float32(length)
    b = rng.uniform(0, 2 * np.pi, FEATURES).astype(np.float32)

    def phi(rows: Array) -> Array:
        ones = np.ones((len(rows), 1), dtype=np.float32)
        return np.concatenate([np.cos(rows @ w + b), ones], axis=1)

    k = int(split.train.labels.max()) + 1
    gram, cross = np.zeros((FEATURES + 1, FEATURES + 1)), np.zeros((FEATURES + 1, k))
    for first in range(0, len(x), 5000):
        block = phi(x[first : first + 5000])
        gram += block.T @ block
        cross += block.T @ np.eye(k, dtype=np.float32)[split.train.labels[first : first + 5000]]

    def accuracy(part: Part, a: Array) -> float:
        return float(np.mean((phi(flat(part)) @ a).argmax(axis=1) == part.labels))

    best = (-1.0, 0.0, cross)
    for ridge in RIDGES:
        a = scipy.linalg.solve(gram + ridge * len(x) * np.eye(len(gram)), cross, assume_a="pos")
        best = max(best, (accuracy(split.validation, a), ridge, a), key=lambda one: one[0])
    validation, ridge, a = best
    return {
        "test": accuracy(split.test, a),
        "validation": validation,
        "seconds": time.perf_counter() - clock,
        "parameters": a.size,
        "kilobytes": (w.nbytes + b.nbytes + a.nbytes) / 1024,
        "chosen": f"ridge {ridge:g} of {', '.join(f'{r:g}' for r in RIDGES)}",
    }


def of_torch(name: str, seconds: float | None = None) -> Callable[[Split, int], dict[str, Any]]:
    """A network under Adam, for so many seconds at most."""

    def run(split: Split, seed: int) -> dict[str, Any]:
        from results_torch import trained

        return trained(name, split, seed, seconds)

    return run


PEERS: dict[str, Callable[[Split, int], dict[str, Any]]] = {
    "logistic regression": of_sklearn(logistic),
    "perceptron, 800 hidden (scikit-learn)": of_sklearn(perceptron),
    "gradient-boosted trees": of_sklearn(boosting),
    "ridge on 4,000 random Fourier features": fourier_features,
    "perceptron, 800 hidden, Adam": of_torch("perceptron"),
    "LeNet-5, Adam": of_torch("lenet5"),
    "small modern CNN, Adam": of_torch("cnn"),
    "the units of mnist_fast, Adam": of_torch("units"),
    "the units of mnist_fast, Adam for 75 s": of_torch("units", 75.0),  # five times what mnist_fast.yaml may take
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset")
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--output", type=Path, default=Path("bench/results/peers"))
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of peers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--validation", type=int, default=None, help="images kept from training, as in our configs")
    parser.add_argument("--machine", default="", help="where it runs, if not on the machine of the page")
    parser.add_argument("--busy", action="store_true", help="other programs run too: the seconds say nothing")
    given = parser.parse_args()
    data = load_dataset(given.dataset, given.data)
    split = data.split(given.validation, None, None)
    given.output.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for name, run in PEERS.items():
            path = file_of(given.output, data.name, label_of(name, given.machine), seed)
            if path.exists() or (given.only and not any(part in name for part in given.only)):
                continue
            found = Line(
                dataset=data.name, name=name, seed=seed, busy=given.busy, machine=given.machine, **run(split, seed)
            )
            path.write_text(json.dumps(asdict(found), indent=1) + "\n")
            told = f"{100 * found.test:6.2f} % after {found.seconds:6.1f} s"
            print(f"{data.name:14} {name:40} seed {seed}: {told}  {found.chosen}", flush=True)


if __name__ == "__main__":
    main()
