"""Learning from the test images without their labels: guess these, fit to the guesses, read off the outputs.

Section 5 of Pereyra's paper and its variants.  Whether one helps is judged by true accuracy (bench/transduction.py);
a network always agrees with its own guesses.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.config.scalarized import ScalarizedConfig
from varpro.errors import ConfigError
from varpro.linalg.cross_entropy import softmax
from varpro.report.record import JsonObject
from varpro.train.calibration import FOLDS, calibrated
from varpro.train.scalarized.bootstrap import Guesses, guess_labels
from varpro.train.scalarized.cycle import Cycle, learning_cycle
from varpro.train.scalarized.glue import Rows, all_scores
from varpro.train.scalarized.partition import GUESSES, bootstrap_stream, generator
from varpro.train.scalarized.run import Run


@dataclass(frozen=True)
class Transduced:
    """What a pass over the test images found."""

    predicted: Array
    """The labels read off at the end, (N,) int64."""
    cycle: Cycle | None
    """The learning cycle on the guesses; None if only the linear layer was fitted."""
    metrics: JsonObject
    """The `bootstrap` of metrics.json."""
    seconds: float


def require_validation(config: ScalarizedConfig, n_validation: int) -> None:
    """Raise ConfigError if soft labels are wanted and nothing calibrates them."""
    if config.bootstrap.enabled and config.bootstrap.variant == "soft" and n_validation < FOLDS:
        raise ConfigError(
            f"bootstrap.variant is soft, which needs calibrated probabilities, but there are {n_validation} validation "
            "images; set data.validation to some hundreds, or another variant"
        )


def transduce(run: Run, trained: Cycle, scores: Array, test: Rows) -> Transduced:
    """Guess the labels of the test images, fit to the guesses, and measure it by the true labels, as often as the
    config says; each round guesses from the outputs of the one before.  Collective.

    trained : the training cycle, with its calibration; scores : its outputs on the test images, (N, K).
    """
    settings, clock = run.config.bootstrap, time.perf_counter()
    rounds: list[dict[str, float]] = []
    cycle: Cycle | None = None
    for number in range(settings.rounds):
        shares = softmax(scores) if run.config.glue.loss == "cross_entropy" else scores  # the margin is of shares
        guesses = guess_labels(
            shares,
            margin=settings.margin,
            variant=settings.variant,
            rng=generator(run.config.seed, GUESSES, number),
        )
        scores, cycle = _VARIANTS.get(settings.variant, _fitted)(run, trained, scores, test, guesses, number)
        rounds.append(_measured(guesses, np.argmax(scores, axis=1), test))
    metrics = {"variant": settings.variant, **rounds[-1], "rounds": rounds}
    return Transduced(np.argmax(scores, axis=1), cycle, metrics, time.perf_counter() - clock)


def _measured(guesses: Guesses, final: Array, test: Rows) -> dict[str, float]:
    used = guesses.used
    return {
        "ambiguous_fraction": float(guesses.ambiguous.mean()),
        "guess_accuracy": float(np.mean(guesses.labels == test.labels)),
        "agreement_with_guesses": float(np.mean(final[used] == guesses.labels[used])),
        "test_accuracy": float(np.mean(final == test.labels)),
    }


Fit = Callable[[Run, Cycle, Array, Rows, Guesses, int], tuple[Array, Cycle | None]]
"""The outputs (N, K) of a network fitted to the guesses, and its learning cycle; the number is that of the round"""


def _fitted(run: Run, trained: Cycle, scores: Array, test: Rows, guesses: Guesses, number: int) -> tuple[Array, Cycle]:
    """A whole learning cycle on the guesses."""
    return _cycle(run, trained, test, Rows(test.images[guesses.used], guesses.labels[guesses.used]), number)


def _soft(run: Run, trained: Cycle, scores: Array, test: Rows, guesses: Guesses, number: int) -> tuple[Array, Cycle]:
    """A learning cycle on the probabilities; rank 0 has the calibration."""
    comm = run.comm
    targets = comm.bcast(calibrated(trained.network.calibration, scores) if comm.rank == 0 else None)
    return _cycle(run, trained, test, Rows(test.images, guesses.labels, targets), number)


def _average(run: Run, trained: Cycle, scores: Array, test: Rows, guesses: Guesses, number: int) -> tuple[Array, Cycle]:
    """The mean of the outputs before and after."""
    outputs, cycle = _fitted(run, trained, scores, test, guesses, number)
    return 0.5 * (scores + outputs), cycle


def _linear(run: Run, trained: Cycle, scores: Array, test: Rows, guesses: Guesses, number: int) -> tuple[Array, None]:
    """The trained units with a linear layer of the guesses."""
    network, used = trained.network, Rows(test.images, guesses.labels)
    run.display.phase("bootstrapping: gluing", 1)
    with run.all_threads():
        glued = run.glued(network.units, network.w, used, None, trained.glued.ridge, f"{_name(number)}-glue")
        run.display.advance()
        return all_scores(run.streamed(network.units, network.w, used), glued.a), None


def _name(number: int) -> str:
    """The name of a round, which begins those of its states in a checkpoint."""
    return "bootstrapping" if number == 0 else f"bootstrapping.{number + 1}"


def _cycle(run: Run, trained: Cycle, test: Rows, used: Rows, number: int) -> tuple[Array, Cycle]:
    cycle = learning_cycle(
        run,
        used,
        stream=bootstrap_stream(number),
        name=_name(number),
        validation=None,
        ridge=trained.glued.ridge,
        score=None,
    )
    with run.all_threads():
        network = cycle.network
        return all_scores(run.streamed(network.units, network.w, test), network.a), cycle


_VARIANTS: dict[str, Fit] = {"soft": _soft, "linear": _linear, "average": _average}
"""What is not a whole learning cycle on guessed labels"""
