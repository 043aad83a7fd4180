"""Exponentials that grow along an equidistant axis: none may come from the point before, which may have underflowed."""

import numpy as np
import pytest

from tests.cuda.small import COARSE, Problems, assert_same_search, on_cpu, rules, search
from varpro.models import Exponentials

DECAY = 32.0
"""Per point: 24 points before one that counts, where a lane begins, the values underflow."""


@pytest.mark.parametrize("rates", [False, True])
def test_a_decay_is_searched_backwards_as_forwards(driver, rates):
    """Three points count, by their own errors: the last is computed directly, the two before it come after zeros."""
    model, t = Exponentials(1, rates=rates), np.arange(33.0)[::-1].copy()
    w = np.array([[DECAY if rates else 1 / DECAY]])
    if rates:  # the same curve, growing towards the last point at 0
        t, w = -t, -w
    phi = model(t, w[0])[:, 0]
    y = (3.0 * phi * (1 + 0.01 * np.random.default_rng(0).standard_normal(33)))[None, :, None]
    weights = np.where(phi > np.exp(-2.5 * DECAY), 1 / np.maximum(phi, np.exp(-2.5 * DECAY)), 0.0)[None]
    given, the_rules = Problems(model, t[None].copy(), y, 1.01 * w, weights=weights), rules(**COARSE)
    found = search(driver, given, the_rules)
    assert_same_search(found, on_cpu(given, the_rules), given)
    counts = weights[0] > 0
    whitened = weights[0, counts, None] * model(t[counts], found.w[0])
    values = weights[0, counts] * y[0, counts, 0]
    rest = values - whitened @ np.linalg.lstsq(whitened, values, rcond=None)[0]
    np.testing.assert_allclose(2 * found.cost, rest @ rest, rtol=1e-9)
