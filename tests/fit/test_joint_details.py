"""What a joint fit takes and refuses beyond its arithmetic: times, smooth ridges, rules by bare names, labels."""

import numpy as np
import pytest

import varpro
from varpro import models
from varpro.errors import ConfigError

MODEL = models.Exponentials(2, offset=True)
W0 = [1.0, 3.0]


def made(end, count, a, sigma, seed):
    t = np.linspace(0.0, end, count)
    return t, MODEL(t, np.array(W0)) @ a + sigma * np.random.default_rng(seed).standard_normal(count)


A, B = made(8.0, 100, [4.0, 2.0, 1.0], 0.02, 1), made(12.0, 150, [2.0, 3.0, 0.5], 0.05, 2)


@pytest.mark.parametrize("kind", ["timedelta64[ms]", "datetime64[ms]"])
def test_times_of_a_set_are_converted_as_the_fit_did(kind):
    t = (A[0] * 1000).astype(np.int64).astype(kind)
    f = varpro.fit_global([(t, A[1]), (t, 2 * A[1])], MODEL, W0)
    for s in (0, 1):
        np.testing.assert_allclose(f.predict(t, of=s), f.sets[s].fitted, rtol=1e-12)
        low, high = f.confidence_band(t, of=s)
        assert ((low < f.sets[s].fitted) & (f.sets[s].fitted < high)).all()
    assert f.predict(t[3], of=1) == pytest.approx(f.sets[1].fitted[3:4])


def test_one_point_is_a_point():
    f = varpro.fit(MODEL, *A, W0)
    assert f.predict(1.5).shape == (1,)
    assert f.predict(1.5) == f.predict([1.5])


RADII = np.linspace(0.5, 5.0, 15)
SPREAD = models.Kernel(
    lambda t, r, w: np.exp(-np.multiply.outer(t, 1 / r)) * np.exp(-w[0] * t)[:, None], RADII, ["background"]
)


def spectra():
    t, rng = np.linspace(0.0, 10.0, 120), np.random.default_rng(0)
    y = SPREAD(t, np.array([0.1])) @ np.linspace(0.0, 2.0, 15)
    return t, y + 0.001 * rng.standard_normal(120), 0.001 * rng.standard_normal(120)


def test_a_smooth_ridge_ends_where_a_set_ends():
    """Each set has the amplitudes of its own problem; an operator over both would smooth from one into the other."""
    t, y, nothing = spectra()
    f = varpro.fit_global([(t, y), (t, nothing)], SPREAD, [0.1], ridge=("second-difference", 0.7))
    rough = np.sqrt(0.7) * (np.diag(np.full(15, -2.0)) + np.diag(np.ones(14), 1) + np.diag(np.ones(14), -1))
    phi = np.vstack([SPREAD(t, f.nonlinear), rough])
    for own, data in zip(f.sets, (y, nothing), strict=True):
        alone = np.linalg.lstsq(phi, np.concatenate([data, np.zeros(15)]), rcond=None)[0]
        np.testing.assert_allclose(own.linear, alone, atol=1e-9 * np.abs(y).max())


def test_a_smooth_ridge_runs_along_linked_amplitudes_once_and_refuses_a_part_of_them():
    t, y, _ = spectra()
    both = {"a": (t, y), "b": (t, y)}
    names = list(SPREAD.column_names)
    f = varpro.fit_global(both, SPREAD, [0.1], linked=names, ridge=("second-difference", 0.7))
    one = varpro.fit(SPREAD, t, y, [0.1], ridge=("second-difference", 0.35))
    np.testing.assert_allclose(f.linear, one.linear, atol=1e-6 * np.abs(one.linear).max())
    with pytest.raises(ConfigError, match="all or none of them linked"):
        varpro.fit_global(both, SPREAD, [0.1], linked=names[:3], ridge=("second-difference", 0.7))


@pytest.mark.parametrize("rule", [("tau_1", 3.0), "3 * tau_1", ["tau_1", 3.0]])
def test_a_bare_name_in_a_rule_is_that_of_the_same_set(rule):
    f = varpro.fit_global({"a": A, "b": B}, MODEL, W0, shared=[], linked=["offset"], tied={"tau_2": rule})
    assert f.names == ("tau_1[a]", "tau_2[a]", "tau_1[b]", "tau_2[b]")
    np.testing.assert_allclose(f.nonlinear[1::2], 3 * f.nonlinear[::2], rtol=1e-12)
    assert f.nonlinear[0] != f.nonlinear[2]


def test_a_model_may_get_other_names():
    f = varpro.fit_global([A, B], MODEL, W0, names=["fast", "slow"])
    assert f.names == ("fast", "slow")
    with pytest.raises(ConfigError, match="names has 1 entries; the model of set 0 has tau_1, tau_2"):
        varpro.fit_global([A, B], MODEL, W0, names=["fast"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: varpro.fit_global([A, B], MODEL, fixed={"tau_2": [2.0, 9.0, 3.0]}), "'tau_2' is .* it needs a number"),
        (lambda: varpro.fit_global({1: A, "1": B}, MODEL, W0), "two sets are called '1'"),
        (lambda: varpro.fit_global([5, A], MODEL, W0), r"set 0 needs \(t, y\)"),
        (lambda: varpro.fit_global([A, B], MODEL, [1j, 3.0]), "w0 is complex"),
        (lambda: varpro.fit_global([A, B], MODEL, {"tau_1": 1j, "tau_2": 3.0}), "w0 is complex"),
    ],
)
def test_what_a_joint_fit_cannot_mean_is_told(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
