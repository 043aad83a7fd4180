"""The forms in which the outputs of a network can be read: as they are, with sum 1, or squashed."""

from typing import Literal, get_args

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.problems.descent import squashed

Outputs = Literal["plain", "sum-1", "squashed"]


def shaped(scores: Array, outputs: Outputs) -> Array:
    """Outputs (N, K) in one of the forms.  Raises ConfigError.

    sum-1 : each row divided by its sum, as in sections 1 and 5 of Pereyra's paper.  Rows add up to 1 already, but for
    the ridge: so do those of Y, and the constant is a column of Phi.  A row whose sum is not positive stays as it is.
    squashed : the sigmoid of section 8.1, which keeps every output in (0, 1) and their order.
    """
    if outputs == "plain":
        return scores
    if outputs == "squashed":
        return squashed(scores)
    if outputs != "sum-1":
        raise ConfigError(f"outputs is {outputs!r}; choose one of {', '.join(get_args(Outputs))}")
    total = scores.sum(axis=1, keepdims=True)
    normalised: Array = scores / np.where(total > 0, total, 1.0)
    return normalised
