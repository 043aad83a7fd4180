"""Bootstrapping over the test set: guess its labels with the trained network, then train again on the guesses.

Section 5 of Pereyra's paper.  The refitted network reproduces the guesses, so agreement with them is not accuracy.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array


@dataclass(frozen=True, slots=True)
class Guesses:
    """Labels guessed for the test set."""

    labels: Array
    """The guessed labels, (N,) int64."""
    ambiguous: Array
    """Whether a guess is ambiguous, (N,) bool."""
    used: Array
    """Whether a row is used for training, (N,) bool."""


def guess_labels(scores: Array, *, margin: float, variant: str, rng: np.random.Generator) -> Guesses:
    """Guess a label for each row of outputs.

    With v the outputs normalised to sum 1 and v1, v2 its two largest, a guess is sure if v1 - v2 > margin v1.
    variant : "paper" draws a random label for ambiguous rows; all others take the largest output, and
    "confident-only" uses the sure rows only.  scores : (N, K).
    """
    total = scores.sum(axis=1, keepdims=True)
    v = scores / np.where(total == 0, 1.0, total)
    second, first = np.partition(v, -2, axis=1)[:, -2:].T if scores.shape[1] > 1 else (np.zeros(len(v)), v[:, 0])
    ambiguous = ~(first - second > margin * first)
    labels = np.argmax(scores, axis=1)
    if variant == "paper":
        random = rng.integers(0, scores.shape[1], size=len(scores))
        labels = np.where(ambiguous, random, labels)
    used = ~ambiguous if variant == "confident-only" else np.ones(len(scores), dtype=bool)
    return Guesses(labels, ambiguous, used)
