"""Bagging of an optimised DMD: fits of random parts of the snapshots, all of them as one batch.

Sashidhar and Kutz, Phil. Trans. R. Soc. A 380 (2022) 20210199 (BOP-DMD).  Each trial starts from the eigenvalues of all
snapshots, and its modes are put into their order: the assignment with the least sum of distances between eigenvalues.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.api import fit_batch
from varpro.fitting.dmd_result import DmdTrials
from varpro.report.bar import progress_bar

if TYPE_CHECKING:
    from varpro.fitting.dmd import ComplexExponentials

VALUES = 1 << 21
"""Complex values of snapshots that are fitted together: 32 MB."""
NOT_FOR_BATCHES = ("multistart", "progress", "callback", "seed")


def check_trials(trials: int, trial_size: float, count: int, rank: int) -> int:
    """The number of the `count` snapshots in each trial.  Raises ConfigError."""
    size = round(trial_size * count) if 0 < trial_size < 1 else 0
    if trials < 0 or trials == 1:
        raise ConfigError(f"trials is {trials}; give 2 or more, such as 100, or 0 for none")
    if trials and not rank < size < count:
        raise ConfigError(
            f"trial_size is {trial_size}, {size} of {count} snapshots; rank {rank} needs {rank + 1} to {count - 1}"
        )
    return size


def fitted_trials(
    model: "ComplexExponentials",
    t: Array,
    y: Array,
    eigenvalues: Array,
    *,
    order: Array,
    snapshots: Array,
    trials: int,
    size: int,
    seed: int,
    options: dict[str, Any],
) -> DmdTrials:
    """Fits of `size` of the rows of y (N, K) at t (N,), from the eigenvalues (r,) of all and in their `order` (r,).

    snapshots : (space, N) what y was made of, for the modes.
    """
    rng, progress = np.random.default_rng(seed), options.get("progress")
    given = {name: value for name, value in options.items() if name not in NOT_FOR_BATCHES}
    each, found = max(1, VALUES // (size * y.shape[1])), []
    with progress_bar(progress, trials, "trials") as advance:
        for first in range(0, trials, each):
            count = min(each, trials - first)
            rows = np.sort(rng.random((count, len(t))).argsort(axis=1)[:, :size], axis=1)
            many = fit_batch(model, t[rows], y[rows], eigenvalues, progress=advance, **given)
            found.append((many.nonlinear[many.success], rows[many.success]))
    values, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if len(values) < 2:
        raise ConfigError(f"{trials - len(values)} of {trials} trials did not converge; take a larger trial_size")
    for k, mine in enumerate(values):
        away = np.abs(eigenvalues[order][:, None] - mine)
        values[k] = mine[scipy.optimize.linear_sum_assignment(away)[1]]
    factor = float(np.sqrt(size / (len(t) - size)))
    return DmdTrials(values, factor, trials - len(values), rows, snapshots, t)
