"""Exponentials that grow along an equidistant axis: none may come from the point before, which may have underflowed."""

import numpy as np
import pytest

from tests.cuda.small import COARSE, Problems, assert_same_search, on_cpu, rules, search
from varpro.models import Exponentials


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("n", [128, 257])
def test_a_decay_is_searched_backwards_as_forwards(driver, n, rates):
    model, t = Exponentials(1, offset=True, rates=rates), np.arange(float(n))[::-1]
    w = np.array([[1 / 0.3 if rates else 0.3]])
    if rates:  # the same curve, growing towards the last point at 0
        t, w = -t, -w
    y = (model(t, w[0]) @ [3.0, 1.0] + 0.01 * np.random.default_rng(0).standard_normal(n))[None, :, None]
    given, the_rules = Problems(model, t[None].copy(), y, 1.05 * w), rules(**COARSE)
    found = search(driver, given, the_rules)
    assert_same_search(found, on_cpu(given, the_rules), given)
    phi = model(t, found.w[0])
    rest = y[0, :, 0] - phi @ np.linalg.lstsq(phi, y[0, :, 0], rcond=None)[0]
    np.testing.assert_allclose(2 * found.cost, rest @ rest, rtol=1e-9)
