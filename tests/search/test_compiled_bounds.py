"""A compiled search within bounds takes the steps of the loop, which solves for bounded amplitudes in another way."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import decay_data, decays
from varpro.fitting import run
from varpro.models import Exponentials, Kernel, dipolar_kernel
from varpro.problems.compiled_form import CompiledForm


def distances():
    """A distribution on which a third of the amplitudes is zero, seen through a kernel without derivative."""
    t, r = np.linspace(0.0, 3.0, 61), np.linspace(1.5, 6.0, 31)
    pairs = dipolar_kernel(t, r)
    kernel = Kernel(lambda t, r, w: (1.0 - w[0] + w[0] * pairs) * np.exp(-w[1] * t)[:, None], r, ["depth", "decay"])
    y = kernel(t, np.array([0.3, 0.1])) @ np.exp(-(((r - 3.5) / 0.4) ** 2))
    return kernel, t, y + 0.004 * np.random.default_rng(2).standard_normal(len(t)), [0.5, 0.2]


def lowered(right):
    """Decays less than their offset, so that an amplitude is held at zero."""
    t, y = decay_data(right=right)
    return t, y - 0.9


CASES = {
    "ready model": lambda: ((Exponentials(2, offset=True), *lowered(1), [2.0, 6.5]), {"linear": "nonnegative"}),
    "several right-hand sides": lambda: ((decays, *lowered(2), [2.0, 6.5]), {"linear": "nonnegative"}),
    "bounds on both": lambda: (
        (decays, *lowered(1), [1.1, 3.0]),
        {"linear": ([-np.inf, 0.0, -0.02], np.inf), "bounds": ([1.0, 0.5], [2.0, 3.5])},
    ),
    "bounds on parameters": lambda: ((decays, *decay_data(), [0.7, 2.0]), {"bounds": ([0.5, 1.0], [0.9, 2.5])}),
    "kaufman": lambda: ((decays, *lowered(1), [2.0, 6.5]), {"linear": "nonnegative", "jacobian": "kaufman"}),
    "distribution": lambda: (
        distances(),
        {"linear": "nonnegative", "bounds": ([0.0, 0.0], [1.0, 1.0]), "ridge": ("second-difference", 0.01)},
    ),
}


@pytest.fixture
def looped(monkeypatch):
    """Calls a function while nothing is searched in compiled code."""

    def call(function):
        with monkeypatch.context() as patch:
            patch.setattr(CompiledForm, "searchable", False)
            return function()

    return call


@pytest.mark.parametrize("name", CASES)
def test_it_takes_the_steps_of_the_loop(name, looped, monkeypatch):
    (model, t, y, w0), options = CASES[name]()
    expected = looped(lambda: varpro.fit(model, t, y, w0, **options))
    monkeypatch.setattr(run, "_search_by_loop", None)  # nothing may be left to it
    found = varpro.fit(model, t, y, w0, **options)
    assert found.status == expected.status
    assert found.rank == expected.rank
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-12)
    np.testing.assert_allclose(found.nonlinear, expected.nonlinear, rtol=1e-7)
    np.testing.assert_allclose(found.linear, expected.linear, rtol=1e-5, atol=1e-6 * np.abs(expected.linear).max())
    assert np.array_equal(found.linear == 0, expected.linear == 0)
    early = slice(0, min(len(found.history), len(expected.history)) - 2)  # the last steps are within rounding
    for one, other in zip(found.history[early], expected.history[early], strict=True):
        assert (one.iteration, one.accepted, one.rank) == (other.iteration, other.accepted, other.rank)
        np.testing.assert_allclose(one.cost, other.cost, rtol=1e-6)
        np.testing.assert_allclose(one.damping, other.damping, rtol=1e-3)  # by the gain, a quotient of differences


def test_a_batch_within_bounds_is_its_fits_one_by_one():
    model, t = Exponentials(2, offset=True), np.linspace(0.0, 12.5, 50)
    rng = np.random.default_rng(4)
    w = rng.uniform(0.8, 1.2, (7, 2)) * [1.0, 3.0]
    y = np.stack([model(t, v) @ [4.0, 2.5, 0.002] for v in w]) + 0.02 * rng.standard_normal((7, 50))
    options = {"linear": "nonnegative", "bounds": ([0.1, 2.0], [1.1, 20.0]), "cost_tolerance": 1e-12}
    many = varpro.fit_batch(model, t, y, [0.7, 4.0], **options)
    ones = [varpro.fit(model, t, one, [0.7, 4.0], **options) for one in y]
    assert (many.linear == 0).any()
    assert (many.nonlinear[:, 0] == 1.1).any()
    np.testing.assert_allclose(many.nonlinear, [one.nonlinear for one in ones], rtol=1e-6)


def test_columns_that_depend_on_each_other_are_left_to_the_loop(looped):
    t, y = decay_data()

    def twice(t, w):
        return np.stack([np.exp(-t / w[0]), np.exp(-t / w[0]), np.ones_like(t)], axis=-1)

    found = varpro.fit(twice, t, y, [2.0], linear="nonnegative")
    expected = looped(lambda: varpro.fit(twice, t, y, [2.0], linear="nonnegative"))
    assert found.rank == expected.rank == 2
    np.testing.assert_array_equal(found.nonlinear, expected.nonlinear)
