"""Distributions: the dipolar kernel against its integral, smooth densities, and the choice of the ridge."""

import numpy as np
import pytest
import scipy

import varpro
from varpro.errors import ConfigError, ShapeError
from varpro.fitting.smoothness import chosen, second_differences
from varpro.models import Kernel, dipolar_kernel

T, R = np.linspace(0.0, 3.0, 120), np.linspace(1.5, 6.0, 40)
PAIRS = dipolar_kernel(T, R)
P = 0.7 * scipy.stats.norm.pdf(R, 3.0, 0.35) + 0.3 * scipy.stats.norm.pdf(R, 4.2, 0.4)
SMOOTH = ("second-difference", "gcv")
BOUNDS = {"depth": (0, 1), "decay": (0, None)}


def deer(t, r, w):
    return (1 - w[0] + w[0] * PAIRS) * np.exp(-w[1] * t)[:, None]


MODEL = Kernel(deer, R, ["depth", "decay"])
Y = MODEL(T, np.array([0.35, 0.12])) @ P + 0.005 * np.random.default_rng(0).standard_normal(120)


def fitted(ridge, **options):
    options = {"linear": "nonnegative", "bounds": BOUNDS, "w0": [0.5, 0.2], **options}
    return varpro.fit(MODEL, T, Y, ridge=ridge, **options)


@pytest.mark.parametrize("t", [-0.2, 0.0, 0.05, 1.3])
def test_the_dipolar_kernel_is_the_integral_over_orientations(t):
    omega = 2 * np.pi * 52.04 / 3.0**3
    expected = scipy.integrate.quad(lambda x: np.cos((3 * x**2 - 1) * omega * t), 0, 1, limit=200)[0]
    assert dipolar_kernel([t], [3.0])[0, 0] == pytest.approx(expected, rel=1e-9)


def test_columns_are_the_kernel_times_the_weights_of_the_integral():
    uneven = np.array([1.0, 1.5, 3.0, 3.2])
    model = Kernel(lambda t, r, w: np.outer(t, r) * w[0], uneven, ["scale"])
    assert model.spacing @ np.ones(4) == pytest.approx(2.2, rel=0.2)
    even = Kernel(lambda t, r, w: np.ones((len(t), len(r))), np.linspace(0, 1, 11), ["scale"])
    np.testing.assert_allclose(even(np.zeros(2), [1.0]) @ np.linspace(0, 1, 11), 0.5, rtol=1e-12)
    assert even.column_names[3] == "P(0.3)"


@pytest.mark.parametrize("how", ["gcv", "aic"])
def test_the_density_comes_back_with_its_depth_and_decay(how):
    fit = fitted(("second-difference", how))
    assert fit.success
    np.testing.assert_allclose(fit.nonlinear, [0.35, 0.12], atol=5 * fit.stderr_nonlinear.max())
    assert (fit.linear >= 0).all()
    assert np.abs(fit.linear - P).max() < 0.25 * P.max()
    assert fit.ridge > 0
    assert 100 < fit.dof < 118
    assert fit.rss / 120 == pytest.approx(0.005**2, rel=0.35)


def test_gcv_is_the_minimum_of_its_own_function():
    """n S / (n - p)^2 with p the trace of the influence of the free problem, by the formula, on a fine grid of mu."""
    fit = fitted(SMOOTH, linear="free")
    phi, rough = MODEL(T, fit.nonlinear), second_differences(40)

    def score(mu):
        influence = phi @ np.linalg.solve(phi.T @ phi + mu * rough.T @ rough, phi.T)
        return np.sum((Y - influence @ Y) ** 2) / (120 - np.trace(influence)) ** 2

    grid = fit.ridge * np.geomspace(0.05, 20.0, 61)
    values = [score(mu) for mu in grid]
    assert score(fit.ridge) <= min(values) * (1 + 1e-3)


def test_a_number_is_the_matrix_ridge():
    number = fitted(("second-difference", 0.01))
    matrix = fitted(0.1 * second_differences(40))
    np.testing.assert_allclose(number.nonlinear, matrix.nonlinear, rtol=1e-6)
    np.testing.assert_allclose(number.linear, matrix.linear, atol=1e-8)
    assert number.ridge == pytest.approx(0.01)


def test_weights_and_missing_values_enter_the_choice():
    y = Y.copy()
    y[[4, 50]] = np.nan
    spec = varpro.fit(
        MODEL, T, y, [0.4, 0.1], weights=np.full(120, 200.0), ridge=SMOOTH, absolute_sigma=True
    )._solution.spec
    plain = varpro.fit(MODEL, T, y, [0.4, 0.1], ridge=SMOOTH)._solution.spec
    u = np.array([[0.35, 0.12]])
    assert chosen(spec, u, "gcv") == pytest.approx(200.0**2 * chosen(plain, u, "gcv"), rel=0.05)


@pytest.mark.parametrize(
    ("ridge", "options", "said"),
    [
        (("third-difference", "gcv"), {}, "its first part can be 'second-difference'"),
        (("second-difference", "l-curve"), {}, "its second part is 'gcv', 'aic', 'lcurve' or a number above 0"),
        (("second-difference", -1.0), {}, "needs to be above 0"),
        ("aic", {}, "give a number, a matrix, 'gcv' or"),
        (SMOOTH, {"fixed_term": lambda t, w: t * w[0], "linear": "free"}, "without a fixed term"),
    ],
)
def test_what_is_no_smooth_ridge_is_told(ridge, options, said):
    with pytest.raises(ConfigError, match=said) as error:
        fitted(ridge, **options)
    assert "\n" not in str(error.value)


def test_a_kernel_with_too_few_rows_needs_a_ridge():
    few = np.arange(0, 120, 4)
    model = Kernel(lambda t, r, w: deer(T, r, w)[few], R, ["depth", "decay"])
    with pytest.raises(ShapeError, match=r"30 valid values for 42 parameters .* or give a ridge"):
        varpro.fit(model, T[few], Y[few], [0.4, 0.1])
    assert varpro.fit(model, T[few], Y[few], [0.4, 0.1], ridge=SMOOTH, linear="nonnegative", bounds=BOUNDS).success
    with pytest.raises(ConfigError, match="a smooth ridge is for one problem"):
        varpro.fit_batch(model, T[few], Y[few][None], [0.4, 0.1], ridge=SMOOTH)


@pytest.mark.parametrize(
    ("r", "names", "kind", "said"),
    [
        ([1.0, 2.0], ["a"], ShapeError, "needs 3 points or more"),
        ([1.0, 3.0, 2.0], ["a"], ConfigError, "finite and ascend"),
        ([1.0, 2.0, 3.0], [], ConfigError, "the names of its parameters, at least one"),
    ],
)
def test_what_is_no_distribution_is_told(r, names, kind, said):
    with pytest.raises(kind, match=said):
        Kernel(deer, r, names)


def test_a_kernel_of_another_shape_is_told():
    with pytest.raises(ShapeError, match=r"the kernel returned shape \(120,\); it needs \(N, I\) = \(120, 40\)"):
        Kernel(lambda t, r, w: t, R, ["a"])(T, [1.0])
