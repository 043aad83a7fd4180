"""Steps inside a box: what a bound holds, and what it leaves alone."""

import numpy as np
import pytest

from varpro.search.bounded_steps import BoundedEquations

LOWER, UPPER = -1.0, 2.0


def equations(w, gradient):
    p = len(w)
    h = np.eye(p) + 0.1
    return BoundedEquations(
        h[None],
        np.array([gradient]),
        np.diagonal(h)[None],
        np.array([w]),
        np.full((1, p), LOWER),
        np.full((1, p), UPPER),
    )


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("place", [LOWER, 0.3, UPPER])
def test_a_bound_holds_a_parameter_only_where_the_cost_falls_beyond_it(place, slope):
    """One that the cost does not depend on is not determined by the bound that it happens to lie on."""
    found = equations([place], [slope])
    held = (place, slope) in ((LOWER, 1.0), (UPPER, -1.0))
    assert np.isinf(found.curvature[0, 0]) == held
    assert found.gradient[0, 0] == (0.0 if held else slope)
    step = found.solve(np.zeros(1)).delta[0, 0]
    assert step == pytest.approx(0.0 if held else np.clip(place - slope / 1.1, LOWER, UPPER) - place, abs=1e-15)


def test_the_step_is_the_same_seen_from_the_other_side():
    w, gradient = [LOWER, 1.9, 0.1, UPPER], [0.4, -3.0, 0.2, -0.5]
    one = equations(w, gradient).solve(np.array([0.1]))
    other = equations([LOWER + UPPER - x for x in w], [-g for g in gradient]).solve(np.array([0.1]))
    np.testing.assert_allclose(other.delta, -one.delta, rtol=1e-12)
    np.testing.assert_allclose(other.predicted, one.predicted, rtol=1e-12)
    np.testing.assert_allclose(one.delta[0, [0, 1, 3]], [0.0, 0.1, 0.0], atol=1e-15)
