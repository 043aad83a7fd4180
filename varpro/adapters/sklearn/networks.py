"""Scalarized networks as scikit-learn estimators of images or vectors, trained as `varpro-train` trains them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from varpro.arrays import Array, ArrayLike
from varpro.config.scalarized import ScalarizedConfig, parse_config
from varpro.distributed import SerialCommunicator, threads_per_rank
from varpro.errors import ConfigError, DataError
from varpro.linalg.cross_entropy import softmax
from varpro.report.progress import Display
from varpro.train.calibration import calibrate
from varpro.train.scalarized.cycle import Cycle, learning_cycle
from varpro.train.scalarized.glue import RELATIVE_RIDGES, Rows
from varpro.train.scalarized.network import Network
from varpro.train.scalarized.partition import TRAINING
from varpro.train.scalarized.run import Run

LEAST_VALIDATION = 5
"""Rows below which nothing is held out: their errors would choose at random."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """How rows of numbers become what units read."""

    shape: tuple[int, ...]
    offset: Array
    spread: Array

    @classmethod
    def of(cls, x: Array, shape: tuple[int, ...] | None) -> "Pixels":
        """Images keep their zeros and their proportions, (x - min) / (max - min); vectors have each number
        standardised."""
        if shape is None:
            spread = x.std(axis=0)
            return cls((1, 1, x.shape[1]), x.mean(axis=0), np.where(spread > 0, spread, 1.0))
        low, high = (0.0, 255.0) if x.dtype == np.uint8 else (float(x.min()), float(x.max()))
        return cls(shape, np.array(low), np.array(high - low if high > low else 1.0))

    def __call__(self, x: Array) -> Array:
        """X (n, p) as (n, *shape)."""
        scaled: Array = x if x.dtype == np.uint8 else (x - self.offset) / self.spread
        return scaled.reshape(len(x), *self.shape)


class _NetworkEstimator(BaseEstimator):
    """What the classifier and the regressor share."""

    def __init__(
        self,
        units: int = 50,
        *,
        unit: str = "multilinear",
        options: Mapping[str, Any] | None = None,
        sigma: str = "tanh",
        iterations: int = 10,
        ridge: float | str = "auto",
        image_shape: tuple[int, ...] | None = None,
        validation_fraction: float = 0.1,
        config: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.units, self.unit, self.options, self.sigma = units, unit, options, sigma
        self.iterations, self.ridge, self.image_shape = iterations, ridge, image_shape
        self.validation_fraction, self.config, self.random_state = validation_fraction, config, random_state

    def _settings(self, seed: int) -> ScalarizedConfig:
        """The config of `varpro-train` that the parameters stand for.  Raises ConfigError."""
        tree: dict[str, Any] = {
            "data": {"source": "memory"},
            "model": {"unit": self.unit, "sigma": self.sigma, **(self.options or {})},
            "subnetworks": 0,
            "units": self.units,
            "refine": {"enabled": True, "iterations": self.iterations} if self.iterations else False,
            "glue": {"ridge": self.ridge},
            "control": False,
            "seed": seed,
        }
        for key, value in (self.config or {}).items():
            both = isinstance(value, Mapping) and isinstance(tree.get(key), dict)
            tree[key] = {**tree[key], **value} if both else value
        return parse_config(tree, type(self).__name__)

    def _numbers(self, X: ArrayLike, **checks: Any) -> Any:
        """X as (n, p), checked by scikit-learn; bytes stay bytes if they are images."""
        x: Any = np.asarray(X) if isinstance(X, np.ndarray | list | tuple) else X
        self._seen = None
        if getattr(x, "ndim", 2) > 2:
            self._seen = tuple(x.shape[1:])
            x = x.reshape(len(x), -1)
        kept = getattr(x, "dtype", None) == np.uint8 and (self._seen or self.image_shape)
        return validate_data(self, x, dtype=np.uint8 if kept else (np.float64, np.float32), **checks)

    def _shape(self) -> tuple[int, ...] | None:
        """(C, L, R) or (d1, .., dk) of the images last seen; None for vectors."""
        shape = self._seen if self.image_shape is None else tuple(self.image_shape)
        if shape is None:
            return None
        shape = (1, *shape) if len(shape) == 2 else shape
        if math.prod(shape) != self.n_features_in_:
            raise ConfigError(
                f"image_shape is {shape}, {math.prod(shape)} pixels, but X has {self.n_features_in_} columns; give the "
                "shape of an image"
            )
        return shape

    def _train(self, x: Array, labels: Array, targets: Array | None, k: int, held: Array, seed: int) -> Cycle:
        """Train on the rows that are not held out; the linear layer's ridge is chosen on those that are."""
        self.pixels_ = Pixels.of(x, self._shape())
        images, config = self.pixels_(x), self._settings(seed)
        config.check_without_data()
        rows, validation = (
            Rows(images[part], labels[part], None if targets is None else targets[part]) for part in (~held, held)
        )
        config.check_with_data(len(rows), k, self.pixels_.shape)
        comm = SerialCommunicator()
        names = tuple(map(str, range(k)))
        run = Run(config, comm, Display(), threads_per_rank(comm), self.pixels_.shape, k, names, "memory")
        ridge = None if config.glue.ridge == "auto" else float(config.glue.ridge)
        chosen_by = validation if targets is None and held.any() else None
        cycle = learning_cycle(run, rows, stream=TRAINING, name="fit", validation=chosen_by, ridge=ridge, score=None)
        if targets is not None and ridge is None and held.any():
            cycle.network = _least_validation_error(run, cycle.network, rows, validation)
        self.network_, self.n_iter_ = cycle.network, max(1, cycle.refined.iterations if cycle.refined else 1)
        return cycle

    def _scores(self, X: ArrayLike) -> Array:
        """Outputs (n, K)."""
        check_is_fitted(self)
        x = self.pixels_(self._numbers(X, reset=False))
        out = np.empty((len(x), self.network_.a.shape[1]))
        for rows, phi in self.network_.blocks(x):
            out[rows] = phi @ self.network_.a
        return out

    def _held(self, n: int, groups: Array, rng: np.random.RandomState) -> Array:
        """The rows (n,) bool to hold out, drawn from every group alike, none of which is emptied."""
        share = float(self.validation_fraction)
        if not 0 <= share < 1:
            raise ConfigError(
                f"validation_fraction is {self.validation_fraction}; give a share of the rows, 0 <= .. < 1"
            )
        held = np.zeros(n, dtype=bool)
        for group in np.unique(groups):
            own = rng.permutation(np.flatnonzero(groups == group))
            held[own[: int(share * len(own))]] = True
        return held if held.sum() >= LEAST_VALIDATION else np.zeros(n, dtype=bool)


def _least_validation_error(run: Run, network: Network, rows: Rows, validation: Rows) -> Network:
    """The network with the ridge, of those that gluing tries, whose squares on the validation rows are least."""
    units, w = network.units, network.w
    squares = sum(float(np.sum(phi**2)) for _, phi in network.blocks(rows.images))
    scale, y = squares / (units.n_columns + 1), validation.y(slice(None), run.n_classes)

    def error(a: Array) -> float:
        parts = network.blocks(validation.images)
        return sum(float(np.sum((y[part] - phi @ a) ** 2)) for part, phi in parts)

    layers = [run.glued(units, w, rows, None, c * scale, "fit-glue").a for c in RELATIVE_RIDGES]
    return run.network(units, w, min(layers, key=error))


class VarproClassifier(ClassifierMixin, _NetworkEstimator):
    """A scalarized network that classifies images or vectors.

    Its units are nonlinear in the pixels and few numbers describe each; the linear layer on them is solved for exactly.
    All units are refined together by Gauss-Newton steps.

    Parameters
    ----------
    units : int
        The number of units.
    unit, sigma : str
        The kind of unit and its activation, as `model.unit` and `model.sigma` of a config.  "multilinear" reads
        vectors, images and tensors; on vectors it is a hidden layer.
    options : mapping, optional
        Options of the kind of unit: ``{"rank": 2}``, ``{"filter": 5, "cells": 2}``.
    iterations : int
        The most Gauss-Newton steps; 0 leaves the units at random.
    ridge : float or "auto"
        The ridge of the linear layer; "auto" chooses it on the rows held out.
    image_shape : tuple of int, optional
        (L, R), (C, L, R) or (d1, .., dk), if X (n, p) holds images row by row.  X may also be (n, L, R) or
        (n, C, L, R).  Otherwise X holds vectors, whose numbers are standardised.
    validation_fraction : float
        The share of the rows of each class that is held out, to choose the ridge and to calibrate the probabilities.
    config : mapping, optional
        Further keys of a config of `varpro-train`: ``{"subnetworks": 20, "samples": 500}``.
    random_state : int, RandomState or None
        The seed of the start and of the rows held out.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    network_ : the trained network, which reads X as `pixels_` scales it
    n_iter_ : the number of steps
    n_features_in_ : the number of columns of X

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from varpro.adapters.sklearn import VarproClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = VarproClassifier(40, image_shape=(8, 8), random_state=0).fit(X[:1000], y[:1000])
    >>> bool(model.score(X[1000:], y[1000:]) > 0.85)
    True
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit X (n, p), (n, L, R) or (n, C, L, R) with labels y (n,).  Raises VarproError, a ValueError."""
        x, y = self._numbers(X, y=y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, labels = np.unique(y, return_inverse=True)
        k = len(self.classes_)
        if k < 2:
            raise DataError(f"y has one class, {self.classes_[0]}; a classifier needs rows of two classes or more")
        rng = check_random_state(self.random_state)
        held = self._held(len(x), labels, rng)
        self._train(x, labels.astype(np.int64), None, k, held, int(rng.randint(2**31 - 1)))
        judged = held if held.any() else np.ones(len(x), dtype=bool)
        out = np.concatenate([phi @ self.network_.a for _, phi in self.network_.blocks(self.pixels_(x[judged]))])
        self.calibration_ = calibrate(out, labels[judged])
        return self

    def predict(self, X: ArrayLike) -> Array:
        """The labels (n,) of the largest probabilities."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities (n, K) of `classes_`, calibrated on the rows held out; where these were too few, on those of
        the fit, which is optimistic."""
        scores = self._scores(X)
        return softmax(scores) if self.calibration_ is None else self.calibration_.probabilities(scores)


class VarproNetworkRegressor(RegressorMixin, _NetworkEstimator):
    """A scalarized network that predicts numbers from images or vectors.

    The parameters are those of `VarproClassifier`; rows are held out at random, to choose the ridge.  For a model of
    your own, such as a sum of exponentials, see `VarproRegressor`.

    Attributes
    ----------
    network_ : the trained network, whose outputs are standardised targets
    n_iter_ : the number of steps
    n_features_in_ : the number of columns of X
    """

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit X (n, p), (n, L, R) or (n, C, L, R) with targets y (n,) or (n, K).  Raises VarproError, a ValueError."""
        x, y = self._numbers(X, y=y, multi_output=True, y_numeric=True)
        targets = np.asarray(y, dtype=np.float64)
        self._is_vector = targets.ndim == 1
        targets = targets.reshape(len(x), -1)
        spread = targets.std(axis=0)
        self._mean, self._spread = targets.mean(axis=0), np.where(spread > 0, spread, 1.0)
        rng, labels = check_random_state(self.random_state), np.zeros(len(x), dtype=np.int64)
        held = self._held(len(x), labels, rng)
        standard = (targets - self._mean) / self._spread
        self._train(x, labels, standard, targets.shape[1], held, int(rng.randint(2**31 - 1)))
        return self

    def predict(self, X: ArrayLike) -> Array:
        """(n,) or (n, K) numbers."""
        found = self._scores(X) * self._spread + self._mean
        return found[:, 0] if self._is_vector else found
