"""Writing a trained network to one HDF5 file and reading it back: its name and its numbers, no times."""

from pathlib import Path

import h5py
import numpy as np
import torch

from varpro.arrays import Array
from varpro.models.units.images import unit_floats
from varpro.report.record import JsonObject
from varpro.train.calibration import Calibration, calibrated
from varpro.train.data.pixels import readable_images
from varpro.train.layered.network import LayeredNetwork
from varpro.train.layered.plan import plan_network
from varpro.train.model_file import opened, read_calibration, written

BLOCK_ROWS = 500
"""Images scored at a time."""
OPTIONS = ("embedding", "xi")


class LayeredModel:
    """What `varpro.load` returns for a network's model.h5: predict(X), predict_proba(X), scores(X), features(X), on the
    CPU.

    X : (N, L, R) or (N, C, L, R), floats in [0, 1] or bytes.
    """

    def __init__(self, network: LayeredNetwork, class_names: tuple[str, ...], dataset: str) -> None:
        self.network, self.class_names, self.dataset = network.eval(), class_names, dataset

    @property
    def calibration(self) -> Calibration | None:
        """What makes probabilities of scores; None if there were no validation images."""
        return self.network.calibration

    def scores(self, images: Array) -> Array:
        """(N, K).  Raises ShapeError for images of another shape, DataError for pixels outside [0, 1]."""
        return self._passed(images)[1]

    def features(self, images: Array) -> Array:
        """The input (N, D) of the last layer; errors as in `scores`."""
        return self._passed(images)[0]

    def predict(self, images: Array) -> Array:
        """Labels (N,) int64 of the largest scores; errors as in `scores`."""
        return np.argmax(self.scores(images), axis=1)

    def predict_proba(self, images: Array) -> Array:
        """Calibrated probabilities (N, K) float64, whose rows sum to 1; errors as in `scores`.

        Raises DataError if the network was trained without validation images.
        """
        return calibrated(self.network.calibration, self.scores(images))

    def _passed(self, images: Array) -> tuple[Array, Array]:
        plan = self.network.plan
        x = readable_images(images, plan.shape)
        features = np.empty((len(x), plan.embedding), dtype=np.float32)
        scores = np.empty((len(x), plan.n_classes), dtype=np.float32)
        with torch.no_grad():
            for first in range(0, len(x), BLOCK_ROWS):
                rows = slice(first, first + BLOCK_ROWS)
                f, s = self.network(torch.from_numpy(np.ascontiguousarray(unit_floats(x[rows], np.float32))))
                assert s is not None
                features[rows], scores[rows] = f.numpy(), s.numpy()
        return features, scores


def save_layered(path: str | Path, network: LayeredNetwork, class_names: tuple[str, ...], dataset: str) -> None:
    """Write a network, which must have its last layer, as a whole or not at all.  Raises OSError.

    Attributes: format, network, shape (C, L, R), embedding, xi (0 = none), class_names, dataset.  The group
    `parameters` holds an array for each name of PyTorch's state_dict; `calibration` is that of the probabilities.
    """
    plan = network.plan
    with written(path, network.calibration) as file:
        file.attrs["network"] = plan.name
        file.attrs["shape"] = np.array(plan.shape, dtype=np.int64)
        file.attrs["embedding"] = plan.embedding
        file.attrs["xi"] = network.xi or 0.0
        file.attrs["class_names"] = list(class_names)
        file.attrs["dataset"] = dataset
        for name, value in network.state_dict().items():
            file.create_dataset(f"parameters/{name}", data=value.numpy(force=True), track_times=False)


def load_layered(path: str | Path) -> LayeredModel:
    """Read what `save_layered` wrote.  Raises DataError."""
    with opened(path) as file:
        name, shape = str(file.attrs["network"]), tuple(int(n) for n in file.attrs["shape"])
        names, dataset = tuple(str(n) for n in file.attrs["class_names"]), str(file.attrs["dataset"])
        options: JsonObject = {key: file.attrs[key].item() or None for key in OPTIONS}
        calibration = read_calibration(file)
        state = {key: torch.from_numpy(np.asarray(value)) for key, value in _arrays(file["parameters"])}
        network = LayeredNetwork(plan_network(name, shape, len(names), **options, linear=True))
        network.load_state_dict(state)
        network.calibration = calibration
    return LayeredModel(network, names, dataset)


def _arrays(group: h5py.Group) -> list[tuple[str, Array]]:
    found: list[tuple[str, Array]] = []
    group.visititems(lambda name, node: found.append((name, node[()])) if isinstance(node, h5py.Dataset) else None)
    return found
