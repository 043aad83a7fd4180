"""Probabilities from the outputs of a trained network, calibrated on images that it was not trained on.

    temperature   P = softmax(beta S + b)      one slope for all outputs, a bias for each class
    logistic      P = softmax(S W + b)         multinomial logistic regression on the outputs

Both minimise the mean cross-entropy, a convex problem solved by Newton's method.  The logistic form has as many
parameters as K (K + 1); a unit normal prior on their distance from the temperature's, for outputs of unit deviation,
keeps them finite where the classes can be separated.  Which one a network gets is decided
by the log-loss on folds of the calibration images that the fit has not seen.  Guo, Pleiss, Sun, Weinberger, On
calibration of modern neural networks, ICML (2017).

Targets are mixed with a uniform distribution as if one image in N + 1 had a random label.  So the fit has a minimum
even if every image is classified correctly, and no probability is 1: Laplace's rule of succession.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.linalg.cross_entropy import cross_entropy, curvature, softmax
from varpro.linalg.newton import minimise
from varpro.report.record import JsonObject

FOLDS = 5
"""Parts of the calibration images, each held out once; also the least number of images."""
BINS = 15
"""Intervals of the confidence for the expected calibration error, as in Guo et al."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """P = softmax([S 1] layer)."""

    method: str
    """The form that was fitted: "temperature" or "logistic"."""
    layer: Array
    """(K + 1, K) float64, the biases last."""
    images: int = 0
    """The number of images that it was fitted on."""
    held_out: tuple[tuple[str, float], ...] = ()
    """The log-loss of each form on folds that its fit has not seen."""

    def probabilities(self, scores: Array) -> Array:
        """P (N, K) float64, whose rows sum to 1; scores (N, K)."""
        return softmax(scores @ self.layer[:-1] + self.layer[-1])


UNCALIBRATED = (
    f"no probabilities: they are calibrated on the validation images, and there were fewer than {FOLDS}; set "
    "data.validation to some hundreds"
)
"""Why a network has no probabilities, and what to do."""


def calibrated(calibration: Calibration | None, scores: Array) -> Array:
    """P (N, K) for scores (N, K).  Raises DataError without a calibration."""
    if calibration is None:
        raise DataError(f"this model gives {UNCALIBRATED} and train again, or use its scores")
    return calibration.probabilities(scores)


class _Temperature:
    """Logits beta S + b of theta = (beta, b_1, ..., b_K)."""

    prior = 0.0

    def __init__(self, scores: Array) -> None:
        self.scores = scores
        self.moment = float(np.sum(scores**2)) / (2 * len(scores)) or 1.0

    @property
    def size(self) -> int:
        return self.scores.shape[1] + 1

    def forward(self, theta: Array) -> Array:
        return theta[0] * self.scores + theta[1:]

    def adjoint(self, g: Array) -> Array:
        return np.concatenate([[np.vdot(self.scores, g)], g.sum(axis=0)])

    def precondition(self, r: Array) -> Array:
        return np.concatenate([r[:1] / self.moment, 2.0 * r[1:]])

    def layer(self, theta: Array) -> Array:
        return np.concatenate([theta[0] * np.eye(self.scores.shape[1]), theta[None, 1:]])


class _Logistic:
    """Logits [S 1] Theta, to be added to those of the temperature; a Gram matrix bounds the curvature."""

    prior = 1.0

    def __init__(self, scores: Array) -> None:
        self.phi = np.concatenate([scores, np.ones((len(scores), 1))], axis=1)
        gram = self.phi.T @ self.phi / (2 * len(scores))
        self.inverse = np.linalg.inv(gram + self.prior / len(scores) * np.eye(len(gram)))

    @property
    def size(self) -> int:
        return self.phi.shape[1] * (self.phi.shape[1] - 1)

    def forward(self, theta: Array) -> Array:
        return self.phi @ self.layer(theta)

    def adjoint(self, g: Array) -> Array:
        return (self.phi.T @ g).ravel()

    def precondition(self, r: Array) -> Array:
        return (self.inverse @ self.layer(r)).ravel()

    def layer(self, theta: Array) -> Array:
        return theta.reshape(self.phi.shape[1], -1)


FORMS: dict[str, Callable[[Array], _Temperature | _Logistic]] = {"temperature": _Temperature, "logistic": _Logistic}
"""In the order of fitting: each begins where the one before it ended."""


class _MeanCrossEntropy:
    """The mean cross-entropy of a form at theta, its logits added to others, and prior |theta|^2 / (2 n)."""

    def __init__(self, form: _Temperature | _Logistic, others: Array | float, targets: Array, theta: Array) -> None:
        self.form, self.n, self.ridge = form, len(targets), form.prior / len(targets)
        total, self.p = cross_entropy(form.forward(theta) + others, targets)
        self.value = total / self.n + 0.5 * self.ridge * float(theta @ theta)
        self.gradient = form.adjoint(self.p - targets) / self.n + self.ridge * theta

    def product(self, v: Array) -> Array:
        return self.form.adjoint(curvature(self.p, self.form.forward(v))) / self.n + self.ridge * v

    def precondition(self, r: Array) -> Array:
        return self.form.precondition(r)


def fitted_layers(scores: Array, labels: Array, *, logistic: bool = True) -> dict[str, Array]:
    """The layer (K + 1, K) of each form, fitted to scores (N, K) with labels (N,)."""
    n, k = scores.shape
    centre, spread = scores.mean(axis=0), float(scores.std()) or 1.0
    standard = (scores - centre) / spread
    share = 1.0 / (n + 1)
    targets = np.full((n, k), share / k)
    targets[np.arange(n), labels] += 1.0 - share
    layers, others = {}, np.zeros((k + 1, k))
    for method, make in FORMS.items():
        if method == "logistic" and not logistic:
            continue
        form, before = make(standard), standard @ others[:-1] + others[-1]
        found = minimise(partial(_MeanCrossEntropy, form, before, targets), np.zeros(form.size))
        others = others + form.layer(found.x)
        layers[method] = np.concatenate([others[:-1] / spread, others[-1:] - centre @ others[:-1] / spread])
    return layers


def calibrate(scores: Array, labels: Array) -> Calibration | None:
    """The form with the lower log-loss on held-out folds, fitted to all images; None for fewer than FOLDS images.

    scores (N, K), labels (N,).  The logistic form is not tried where it has more parameters than there are images.
    """
    n, k = scores.shape
    if n < FOLDS:
        return None
    scores = scores.astype(np.float64)
    logistic = k * (k + 1) <= n
    fold = np.empty(n, dtype=int)
    fold[np.argsort(labels, kind="stable")] = np.arange(n) % FOLDS  # every class spread over the folds
    losses: dict[str, float] = {}
    for held in range(FOLDS):
        out = fold == held
        for method, layer in fitted_layers(scores[~out], labels[~out], logistic=logistic).items():
            p = Calibration(method, layer).probabilities(scores[out])
            losses[method] = losses.get(method, 0.0) + float(np.sum(_losses(p, labels[out]))) / n
    best = min(losses, key=losses.__getitem__)
    return Calibration(best, fitted_layers(scores, labels, logistic=logistic)[best], n, tuple(losses.items()))


def _losses(probabilities: Array, labels: Array) -> Array:
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(own, np.finfo(float).tiny))


def log_loss(probabilities: Array, labels: Array) -> float:
    """The mean of -log P of the true class, in nats."""
    return float(np.mean(_losses(probabilities, labels)))


@dataclass(frozen=True, slots=True)
class Bin:
    """The images whose largest probability lies in one interval."""

    low: float
    high: float
    images: int
    confidence: float
    """The mean of their largest probability."""
    accuracy: float


def reliability(probabilities: Array, labels: Array, bins: int = BINS) -> list[Bin]:
    """Accuracy against confidence over equal intervals (low, high] of [0, 1]; intervals without images are left out."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for b in np.unique(place):
        here = place == b
        count = int(here.sum())
        found.append(Bin(b / bins, (b + 1) / bins, count, float(confidence[here].mean()), float(right[here].mean())))
    return found


def expected_calibration_error(bins: list[Bin]) -> float:
    """sum_b (n_b / N) |accuracy_b - confidence_b|."""
    total = sum(b.images for b in bins)
    return sum(b.images * abs(b.accuracy - b.confidence) for b in bins) / total


def measured(calibration: Calibration | None, scores: Array, labels: Array) -> JsonObject:
    """What metrics.json says about probabilities: how they were calibrated, and how true they are on other images."""
    if calibration is None:
        return {"method": None, "reason": UNCALIBRATED}
    p = calibration.probabilities(scores)
    bins = reliability(p, labels)
    return {
        "method": calibration.method,
        "images": calibration.images,
        "held_out_log_loss": dict(calibration.held_out),
        "test": {
            "log_loss": log_loss(p, labels),
            "expected_calibration_error": expected_calibration_error(bins),
            "bins": [asdict(b) for b in bins],
        },
    }
