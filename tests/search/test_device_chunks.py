"""How many problems a device takes at a time: counted from its free memory, without a device."""

from types import SimpleNamespace

import numpy as np
import pytest

import varpro
from varpro.errors import BackendError
from varpro.search.device import SHARE_OF_FREE, DeviceSearch

T = np.linspace(0.0, 6.0, 40)
PAIRS = [[0, 0]]
STATES = 29


def decay(t, w):
    return np.stack([np.exp(-w[0] * t), np.ones_like(t)], axis=-1)


def slopes(t, w):
    return (-t * np.exp(-w[0] * t))[..., None]


def problem(kind):
    y = (decay(T, [0.5]) @ [2.0, 1.0]) * np.ones((3, 1)) + 0.01 * np.sin(np.arange(120)).reshape(3, 40)
    ready = varpro.models.Exponentials(1, offset=True, rates=True)
    model, t, options = {
        "ready": (ready, T, {}),
        "points of their own": (ready, np.tile(T, (3, 1)), {}),
        "weighted": (ready, T, {"weights": np.linspace(1.0, 2.0, 40)}),
        "a function": (decay, T, {"derivative": (PAIRS, slopes)}),
    }[kind]
    return varpro.fit_batch(model, t, y, [0.4], **options)._solution.spec.problem.compiled


@pytest.mark.parametrize("kind", ["ready", "points of their own", "weighted", "a function"])
@pytest.mark.parametrize("single", [False, True])
def test_a_chunk_fills_the_share_of_memory_and_no_more(kind, single):
    small, free = problem(kind), 1e7
    found = DeviceSearch(SimpleNamespace(free_bytes=free), single=single).chunk(small, STATES)
    arrays = 1 if kind in ("ready", "a function") else 2  # y, and what else has a row for each problem
    need = 40 * arrays * (4 if single else 8) + 8 * STATES
    if kind == "a function":
        need += 3 * 8 * 40 * 3  # Phi and D, and what the user's function makes them from
    assert found * need <= SHARE_OF_FREE * free < 2 * found * need


def test_a_problem_that_does_not_fit_is_told_with_both_sizes():
    with pytest.raises(BackendError, match=r"one problem of 40 points needs about 0.0 MB .* 0.0 MB are free"):
        DeviceSearch(SimpleNamespace(free_bytes=100)).chunk(problem("ready"), STATES)
