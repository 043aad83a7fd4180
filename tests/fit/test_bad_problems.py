"""Problems of a batch that can hardly be fitted, or not at all: flagged, and without effect on their neighbours."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import DECAY_DERIVATIVE, decay_data, decays
from varpro import Status
from varpro.models import Exponentials

W0 = np.array([2.0, 6.5])
READY = Exponentials(2, offset=True)


def batch(count):
    t = decay_data()[0]
    return t, np.stack([decay_data(seed=s)[1] for s in range(count)])


def spoil(y, kind):
    y = y.copy()
    if kind == "all missing":
        y[1] = np.nan
    elif kind == "some missing":
        y[1, ::3] = np.nan
    elif kind == "one point":
        y[1, 1:] = np.nan
    elif kind == "infinite":
        y[1, 4] = np.inf
    elif kind == "constant":
        y[1] = 2.5
    elif kind == "zero":
        y[1] = 0.0
    elif kind == "huge":
        y[1] = 1e300
    elif kind == "noise":
        y[1] = np.random.default_rng(0).standard_normal(y.shape[1])
    return y


BAD = {
    "all missing": Status.TOO_FEW_POINTS,
    "one point": Status.TOO_FEW_POINTS,
    "infinite": Status.INVALID_DATA,
    "some missing": None,
    "constant": None,
    "zero": None,
    "huge": None,
    "noise": None,
}


@pytest.mark.parametrize("model", [decays, READY], ids=["function", "ready"])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_problem_is_flagged_and_its_neighbours_keep_their_bits(model, kind):
    t, y = batch(4)
    # weights of ones for both runs: missing values are weights of 0, and products with 1 keep the bits
    clean = varpro.fit_batch(model, t, y[[0, 2, 3]], W0, weights=np.ones((3, 61)))
    with np.errstate(all="ignore"):
        spoiled = varpro.fit_batch(model, t, spoil(y, kind), W0, weights=np.ones((4, 61)))
    for name in ("nonlinear", "linear", "rss", "status", "nfev", "njev", "stderr_nonlinear", "stderr_linear"):
        np.testing.assert_array_equal(getattr(spoiled, name)[[0, 2, 3]], getattr(clean, name), err_msg=name)
    if BAD[kind] is not None:
        assert spoiled.status[1] == BAD[kind]
        assert spoiled.messages[1] == BAD[kind].message
        for name in ("nonlinear", "linear", "rss", "stderr_nonlinear", "stderr_linear"):
            assert np.isnan(getattr(spoiled, name)[1]).all()
        assert not spoiled.success[1]
        assert spoiled.nfev[1] == 0
        assert isinstance(str(spoiled[1]), str)


@pytest.mark.parametrize("model", [decays, READY], ids=["function", "ready"])
def test_starts_that_coincide_overflow_or_are_zero_stay_their_own(model):
    t, y = batch(5)
    starts = np.array([W0, [3.0, 3.0], [-1e-3, 5.0], [1e-300, 5.0], W0])
    with np.errstate(all="ignore"):
        many = varpro.fit_batch(model, t, y, starts, derivative=None if model is READY else DECAY_DERIVATIVE)
        clean = varpro.fit_batch(model, t, y[[0, 4]], W0, derivative=None if model is READY else DECAY_DERIVATIVE)
    np.testing.assert_array_equal(many.nonlinear[[0, 4]], clean.nonlinear)
    assert many.status[2] == Status.NONFINITE
    assert "not finite" in many.messages[2]
    assert np.isfinite(many.nonlinear[1]).all()
    assert many.rank[0] == 3
    assert sum(many.counts().values()) == 5
