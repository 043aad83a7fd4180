"""What a result says about itself."""

import numpy as np

import varpro
from tests.fit.problems import DECAY_DERIVATIVE, decay_data, decays

TOLD = "other starts were not tried"


def test_a_minimum_from_one_start_is_said_to_be_that():
    t, y = decay_data()
    one = varpro.fit(decays, t, y, [2.0, 6.5], derivative=DECAY_DERIVATIVE)
    several = varpro.fit(decays, t, y, [2.0, 6.5], derivative=DECAY_DERIVATIVE, multistart=3)
    assert one.success
    assert TOLD in one.message
    assert several.success
    assert TOLD not in several.message
    assert "the best of 4 starts" in several.message


def test_what_has_not_converged_says_so_and_nothing_of_starts():
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, [0.2, 30.0], derivative=DECAY_DERIVATIVE, max_iterations=1)
    assert fit.message == varpro.Status.ITERATIONS.message
    many = varpro.fit_batch(decays, t, np.stack([y, 0 * y]), [2.0, 6.5], derivative=DECAY_DERIVATIVE)
    assert TOLD in many.messages[0]
    assert many.messages[1] == varpro.Status.UNDETERMINED.message


def test_a_model_that_is_not_finite_somewhere_names_the_row():
    t = np.linspace(-1, 8, 60)
    y = 3 * np.exp(-np.sqrt(np.abs(t) / 2))
    for model in (varpro.models.StretchedExponentials(1), varpro.models.Hill(1)):
        fit = varpro.fit(model, t, y)
        assert fit.status == varpro.Status.NONFINITE
        assert "In row 0, at t = -1.0" in fit.message
        assert "and 6 more rows are not finite" in fit.message
        assert fit.message in str(fit)
    assert "In row 0, at t = 2.0, a_0 is -inf" in varpro.fit(_logarithm, t + 3, y, [2.0]).message
    used = varpro.fit(varpro.models.StretchedExponentials(1), t, y, mask=t >= 0)
    assert used.success


def _logarithm(t, w):
    with np.errstate(divide="ignore"):
        return np.log(t - w[0])[..., None]
