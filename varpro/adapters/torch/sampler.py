"""Batches of a fixed number of classes with a fixed number of samples each."""

from collections.abc import Iterator

import numpy as np
import torch.utils.data

from varpro.adapters.torch.bridge import Labels, to_labels
from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.losses.batch import labels_of


class _Deck:
    """Draws of distinct items, in which each item comes up once before any comes up again."""

    def __init__(self, items: Array, rng: np.random.Generator) -> None:
        self.items, self.rng = items, rng
        self.left = rng.permutation(items)

    def draw(self, k: int) -> Array:
        if k > len(self.left):
            shuffled = self.rng.permutation(self.items)
            held = np.isin(shuffled, self.left)  # items of the last round that are still due come first, once
            self.left = np.concatenate([self.left, shuffled[~held], shuffled[held]])
        drawn, self.left = self.left[:k], self.left[k:]
        return drawn


class ClassBalancedSampler(torch.utils.data.Sampler[list[int]]):
    """DataLoader(data, batch_sampler=ClassBalancedSampler(labels, classes_per_batch, samples_per_class, seed)).

    labels : (n,) integers.  A batch has classes_per_batch distinct classes and samples_per_class distinct samples of
    each.  An epoch has n // (batch size) batches, at least one, in which the counts of the classes differ by at most
    one. Epoch e of a seed is always the same; each pass moves on to the next, and set_epoch(e) chooses one.
    Raises ConfigError if there are too few classes or samples.
    """

    def __init__(self, labels: Labels, classes_per_batch: int, samples_per_class: int, seed: int = 0) -> None:
        y = to_labels(labels)
        y = labels_of(y, y.size, "the data")
        classes, position, counts = np.unique(y, return_inverse=True, return_counts=True)
        if not 1 <= classes_per_batch <= len(classes):
            raise ConfigError(f"classes_per_batch is {classes_per_batch}; the labels have {len(classes)} classes")
        if not 1 <= samples_per_class <= counts.min():
            few = int(counts.argmin())
            raise ConfigError(
                f"samples_per_class is {samples_per_class}; class {classes[few]} has {counts[few]} samples: "
                "take fewer of each, or leave the class out"
            )
        if seed < 0:
            raise ConfigError(f"seed is {seed}; it must be 0 or positive")
        self.classes_per_batch, self.samples_per_class = classes_per_batch, samples_per_class
        self.seed, self.epoch = seed, 0
        order = position.argsort(kind="stable")
        self._members = np.split(order, np.cumsum(counts)[:-1])
        self._batches = max(1, len(y) // (classes_per_batch * samples_per_class))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass draws."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        self.epoch += 1
        classes = _Deck(np.arange(len(self._members)), rng)
        samples = [_Deck(members, rng) for members in self._members]
        for _ in range(self._batches):
            drawn = [samples[c].draw(self.samples_per_class) for c in classes.draw(self.classes_per_batch)]
            yield np.concatenate(drawn).tolist()
