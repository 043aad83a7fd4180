"""How good a network's features and scores are, measured against true labels.

Accuracies, retrieval and scatter are those of `varpro.losses`; means and projections come from the training images,
everything is counted on the test images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from varpro import losses
from varpro.arrays import Array
from varpro.distributed import Communicator
from varpro.errors import DegenerateBatchError
from varpro.report.record import JsonObject
from varpro.train.layered.network import LayeredNetwork
from varpro.train.layered.pictures import spread_rows
from varpro.train.layered.training import Images

BLOCK = 125
"""Images passed through a network at a time: above some 32 MB of activations, each block is mapped anew."""
NEIGHBOURS = (1, 5, 10)
SPECTRUM_ROWS = 2000
"""Test images from which the eigenvalues of an epoch are computed."""


@dataclass(frozen=True, eq=False)
class Passed:
    """Images passed through a network in eval mode."""

    features: Array
    """The features, (N, D) float32."""
    scores: Array | None
    """The scores, (N, n_classes) float32."""
    labels: Array


def pass_through(network: LayeredNetwork, images: Images, comm: Communicator) -> Passed:
    """Features and scores of all images, each rank computing a part.  Collective."""
    network.eval()
    first, last = (len(images) * (comm.rank + i) // comm.size for i in (0, 1))
    features, scores = [], []
    with torch.no_grad():
        for begin in range(first, last, BLOCK):
            f, s = network(images.batch(slice(begin, min(begin + BLOCK, last))))
            features.append(f.numpy(force=True))
            scores.append(None if s is None else s.numpy(force=True))
    parts = [part for own in comm.allgather(list(zip(features, scores, strict=True))) for part in own]
    found = None if network.last is None else np.concatenate([s for _, s in parts])
    return Passed(np.concatenate([f for f, _ in parts]), found, images.labels.numpy(force=True))


def accuracy(scores: Array | None, labels: Array) -> float | None:
    """The share of images whose highest score is the label; None without images or scores."""
    if scores is None or not len(labels):
        return None
    return float(np.mean(scores.argmax(axis=1) == labels))


def unit_rows(rows: Array) -> Array:
    """Rows scaled to norm 1; a zero row stays zero."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def nearest_mean(train: Passed, test: Passed, change: Callable[[Array], Array] = np.asarray) -> float:
    """Accuracy of the nearest class mean of the training features, with `change` applied to both sets first."""
    means = losses.NearestCentroid()
    for rows, labels in _blocks(train):
        means.partial_fit(change(rows), labels)
    return _share(means.predict(change(test.features)), test.labels)


def of_features(train: Passed, test: Passed, learned: Array | None = None) -> JsonObject:
    """Everything that needs no scores: rules, retrieval, scatter.  learned : (n_classes, D) trained centroids."""
    return {**_rules(train, test, learned), **_retrieval(test), **scatter(test.features, test.labels)}


def _rules(train: Passed, test: Passed, learned: Array | None) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "nearest_centroid": nearest_mean(train, test),
        "nearest_centroid_normalised": nearest_mean(train, test, unit_rows),
        "nearest_learned_centroid": None,
    }
    if learned is not None:
        found["nearest_learned_centroid"] = _share(losses.nearest_centroid(test.features, learned), test.labels)
    return found | {"discriminant": discriminant_accuracy(train, test)}


def discriminant_accuracy(train: Passed, test: Passed) -> float | None:
    """The accuracy of shrinkage discriminant analysis; None if the features do not vary."""
    try:
        return _share(discriminant(train).predict(test.features), test.labels)
    except DegenerateBatchError:
        return None


def discriminant(train: Passed) -> losses.DiscriminantClassifier:
    """Shrinkage discriminant analysis of all training images."""
    classifier = losses.DiscriminantClassifier()
    for rows, labels in _blocks(train):
        classifier.partial_fit(rows, labels)
    return classifier


def linear_rule(classifier: losses.DiscriminantClassifier, n_classes: int) -> Array:
    """Its scores as a linear layer (D + 1, n_classes): [F 1] a, up to a term common to all classes of a row.

    A class that it has not seen never gets the highest score.
    """
    moments = classifier.moments
    assert moments is not None
    p, centre = classifier.projection, moments.means.mean(axis=0)
    means = (moments.means - centre) @ p
    a = np.zeros((len(centre) + 1, n_classes))
    a[-1] = -1e30
    a[:-1, moments.labels] = p @ means.T
    a[-1, moments.labels] = -0.5 * (means**2).sum(axis=1) - centre @ p @ means.T
    return a


def _retrieval(test: Passed) -> dict[str, float | None]:
    """recall_at_k and true_positives_at_k as shares, from one search for each test image among the others."""
    ks = [k for k in NEIGHBOURS if k < len(test.labels)]
    found: dict[str, float | None] = {
        f"{name}_{k}": None for name in ("recall_at", "true_positives_at") for k in NEIGHBOURS
    }
    if not ks:
        return found
    same = test.labels[losses.nearest(test.features, ks[-1])] == test.labels[:, None]
    for k in ks:
        found[f"recall_at_{k}"] = float(same[:, :k].any(axis=1).mean())
        found[f"true_positives_at_{k}"] = float(same[:, :k].mean())
    return found


def scatter(features: Array, labels: Array) -> JsonObject:
    """tr S_w / tr S_t, and the eigenvalues of the null-space objective over tr S_t, in ridge mode, ascending."""
    some = spread_rows(len(labels), SPECTRUM_ROWS)
    try:
        info = losses.NullSpaceLoss()(features[some], labels[some]).info
        factors = losses.DiscriminantFactors(features, labels)
        factors.require_spread()
    except DegenerateBatchError:
        return {"scatter_ratio": None, "eigenvalues": None}
    count = min(len(info["E"]), features.shape[1])  # with fewer features than classes, the others are zero
    eigenvalues = (info["E"][-count:] / info["trSt"]).tolist()
    return {"scatter_ratio": factors.trSw / factors.trSt, "eigenvalues": eigenvalues}


def last_layer(layer: torch.nn.Linear | None, test: Passed) -> dict[str, float | None]:
    """e(W), e_norm(W), range of the columns' norms, mean cosine between a class's mean feature and column; or None."""
    names = ("separability", "separability_normalised", "smallest_norm", "largest_norm", "cosine")
    if layer is None:
        return dict.fromkeys(names)
    w = layer.weight.detach().numpy(force=True).T.astype(np.float64)
    norms = np.linalg.norm(w, axis=0)
    classes = np.unique(test.labels)
    means = np.array([test.features[test.labels == c].mean(axis=0, dtype=np.float64) for c in classes])
    cosine = float(np.mean(np.sum(unit_rows(means) * unit_rows(w.T)[classes], axis=1)))
    values = (losses.separability(w), losses.separability(w, normalise=True), norms.min(), norms.max(), cosine)
    return dict(zip(names, map(float, values), strict=True))


def _blocks(passed: Passed, rows: int = 8000) -> list[tuple[Array, Array]]:
    starts = range(0, len(passed.labels), rows)
    return [(passed.features[i : i + rows], passed.labels[i : i + rows]) for i in starts]


def _share(predicted: Array, labels: Array) -> float:
    return float(np.mean(predicted == labels))
