"""What the data do not determine has an infinite error, in any unit; what a bound holds has NaN; nothing is 0 +- 0."""

import warnings

import numpy as np
import pytest

import varpro
from tests.fit.problems import TAU, decay_columns, decay_data, decays
from varpro.models import Exponentials, Gaussians, Sigmoids
from varpro.statistics import uncertainty, undetermined

T = np.linspace(0.0, 12.0, 61)


def single(t, w):
    first = np.exp(-t / w[0])
    return np.stack([first, np.ones_like(first)], axis=-1)


def product(t, w):
    return single(t, [w[0] * w[1]])


def scaled(t, w):
    return single(t, w) * np.stack([w[1] + 0 * t, np.ones_like(t)], axis=-1)


@pytest.fixture
def y():
    return single(T, [2.0]) @ [3.0, 0.5] + 0.01 * np.random.default_rng(0).standard_normal(61)


@pytest.mark.parametrize("derivative", [None, "differences"])
def test_factors_of_which_only_the_product_acts_are_unknown_and_the_rest_is_known(y, derivative):
    fit = varpro.fit(product, T, y, [1.0, 1.5], derivative=derivative)
    alone = varpro.fit(single, T, y, [1.5])
    assert np.isposinf(fit.stderr_nonlinear).all()
    np.testing.assert_allclose(fit.stderr_linear, alone.stderr_linear, rtol=1e-5)
    assert fit.dof == alone.dof == 58
    assert fit.sigma == pytest.approx(alone.sigma, rel=1e-8)
    np.testing.assert_array_equal(np.isinf(fit.covariance), np.diag([True, True, False, False]))
    assert np.isnan(fit.covariance[:2, 2:]).all()
    assert np.isnan(fit.covariance[0, 1])
    np.testing.assert_allclose(fit.covariance[2:, 2:], alone.covariance[1:, 1:], rtol=1e-5)
    np.testing.assert_allclose(fit.confidence_band(T), alone.confidence_band(T), rtol=1e-6)  # the curve is known
    assert "unknown" in str(fit)


def test_a_factor_that_an_amplitude_takes_up_leaves_both_unknown(y):
    fit = varpro.fit(scaled, T, y, [1.5, 2.0])
    alone = varpro.fit(single, T, y, [1.5])
    np.testing.assert_allclose(fit.stderr_nonlinear, [alone.stderr_nonlinear[0], np.inf], rtol=1e-6)
    np.testing.assert_allclose(fit.stderr_linear, [np.inf, alone.stderr_linear[1]], rtol=1e-6)
    np.testing.assert_allclose(fit.confidence_band(T), alone.confidence_band(T), rtol=1e-6)


def test_a_curve_is_unknown_where_only_what_is_unknown_acts(y):
    """The third column is 0 at every point of the data."""

    def beyond(t, w):
        return np.concatenate([single(t, w), np.maximum(t - 12.0, 0.0)[..., None]], axis=-1)

    fit = varpro.fit(beyond, T, y, [1.5], derivative="differences")
    np.testing.assert_array_equal(np.isinf(fit.stderr_linear), [False, False, True])
    lower, upper = fit.confidence_band(np.array([1.0, 12.0, 13.0]))
    np.testing.assert_array_equal(np.isinf(upper - lower), [False, False, True])
    assert fit.dof == 61 - 3


def test_an_empty_pixel_has_no_finite_error(y):
    many = varpro.fit_batch(single, T, np.stack([y, 0 * y, y]), [1.5])
    assert many.status[1] == varpro.Status.UNDETERMINED
    np.testing.assert_array_equal(many.success, [True, False, True])
    assert np.isposinf(many.stderr_nonlinear[1]).all()
    assert np.isposinf(many.stderr_linear[1]).all()
    assert np.isfinite(many.stderr_nonlinear[[0, 2]]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert many[1].aic == -np.inf
        assert np.isnan(many[1].r_squared)
        assert "at bound" not in str(many[1])
        assert not (many[1].covariance == 0).any()


def test_a_parameter_on_its_bound_has_neither_error_nor_covariance(y):
    fit = varpro.fit(single, T, y, [2.5], bounds=(2.2, 10.0))
    assert fit.nonlinear[0] == 2.2
    assert np.isnan(fit.stderr_nonlinear).all()
    assert np.isnan(fit.covariance[0]).all()
    assert np.isnan(fit.covariance[:, 0]).all()
    phi = single(T, [2.2])
    np.testing.assert_allclose(fit.covariance[1:, 1:], fit.sigma**2 * np.linalg.inv(phi.T @ phi), rtol=1e-8)
    assert fit.dof == 61 - 2
    assert str(fit).count("at bound") == 1


@pytest.mark.parametrize("unit", [1e-15, 1e-9, 1.0, 1e15])
def test_a_bound_is_met_exactly_or_not_at_all(y, unit):
    """A lifetime of nanoseconds, in seconds, is not at its bound of 0."""
    derivative = ([[0, 0]], lambda t, w: (t / w[0] ** 2 * np.exp(-t / w[0]))[..., None])
    fit = varpro.fit(single, T * unit, y, [2.05 * unit], bounds=(0.0, 1e16), derivative=derivative)
    assert 0 < fit.stderr_nonlinear[0] < 0.1 * unit
    assert fit.dof == 61 - 3


def test_parts_of_complex_errors_keep_their_own_nan():
    omega, a, t = np.array([-0.2 + 3.0j]), np.array([1.5 - 0.5j]), np.linspace(0, 4, 50)

    def waves(t, w):
        return np.exp(np.multiply.outer(t, w))

    y = waves(t, omega) @ a + 0.05 * np.random.default_rng(1).standard_normal((2, 50)).T @ [1, 1j]
    fit = varpro.fit(waves, t, y, omega + 0.2j, names=["p"], bounds={"p.imag": (3.1, 4.0)})
    assert fit.nonlinear[0].imag == 3.1
    assert np.isnan(fit.stderr_nonlinear[0].imag)
    assert fit.stderr_nonlinear[0].real > 0


def solved(t_unit=1.0, y_unit=1.0, powers=(1.0, 1.0, 1.0), w_unit=(1.0, 1.0)):
    """phi, d, a, |y| of a fit in other units, one problem each; d is by w w_unit."""
    t, y = decay_data()
    phi, d = decays(t, TAU) * powers, decay_columns(t, TAU) * np.asarray(powers)[:2] / (t_unit * np.asarray(w_unit))
    a = y_unit * np.linalg.lstsq(decays(t, TAU), y, rcond=None)[0] / powers
    return phi[None, None], d[None, None], a[None, :, None], np.array([y_unit * np.linalg.norm(y)])


PAIRS = np.array([0, 1]), np.array([0, 1])
UNITS = [
    {"t_unit": 1e15},
    {"t_unit": 1e-15},
    {"y_unit": 1e15},
    {"y_unit": 1e-15},
    {"powers": (1e-15, 1.0, 1e15)},
    {"w_unit": (1e15, 1e-15)},
    {"t_unit": 1e-12, "y_unit": 1e9, "powers": (1e7, 1e-3, 1.0)},
]


@pytest.mark.parametrize("units", UNITS, ids=str)
def test_statistics_are_the_same_in_any_unit(units):
    free = np.ones((1, 2), dtype=bool)
    phi, d, a, size = solved()
    plain = uncertainty(phi, d, a, *PAIRS, free=free, y_size=size)
    phi, d, a, size = solved(**units)
    other = uncertainty(phi, d, a, *PAIRS, free=free, y_size=size)
    w = units.get("t_unit", 1.0) * np.asarray(units.get("w_unit", (1.0, 1.0))) / units.get("y_unit", 1.0)
    scale = np.concatenate([w, 1 / np.asarray(units.get("powers", (1.0, 1.0, 1.0)))])
    np.testing.assert_allclose(other.full(0) / np.outer(scale, scale), plain.full(0), rtol=1e-9)
    assert other.influence == plain.influence == 5
    assert not other.infinite.any()
    assert not undetermined(phi, d, a, *PAIRS, 2, y_size=size).any()


@pytest.mark.parametrize("units", UNITS, ids=str)
@pytest.mark.parametrize("kind", ["no amplitude", "amplitude of rounding", "no signal", "underflow", "absorbed"])
def test_a_parameter_without_effect_is_undetermined_in_any_unit(units, kind):
    phi, d, a, size = solved(**units)
    if kind == "no amplitude":
        a[:, 1] = 0.0
    if kind == "amplitude of rounding":
        a[:, 1] *= 1e-16
    if kind == "no signal":
        a, size = 0 * a, 0 * size
    if kind == "underflow":
        phi[..., 1], d[..., 1], a[:, 1] = 0.0, 0.0, 0.0
    if kind == "absorbed":
        d[..., 1] = phi[..., 1] / units.get("t_unit", 1.0)
    expected = [kind == "no signal", True]
    np.testing.assert_array_equal(undetermined(phi, d, a, *PAIRS, 2, y_size=size)[0], expected)
    found = uncertainty(phi, d, a, *PAIRS, free=np.ones((1, 2), dtype=bool), y_size=size)
    np.testing.assert_array_equal(found.infinite[0], expected)


@pytest.mark.parametrize(("part", "lost"), [(0.3, True), (3.0, False)])
def test_an_effect_is_rounding_below_as_many_eps_as_there_are_rows(part, lost):
    """A derivative along the column itself, but for a share at right angles that no amplitude can absorb."""
    rows, eps = 101, np.finfo(float).eps
    along, across = np.linalg.qr(np.random.default_rng(0).standard_normal((rows, 2)))[0].T
    phi, d = along[None, None, :, None], (along + part * rows * eps * across)[None, None, :, None]
    a, only = np.full((1, 1, 1), 3.0), (np.array([0]), np.array([0]))
    assert undetermined(phi, d, a, *only, 1, y_size=np.full(1, 3.0))[0, 0] == lost
    found = uncertainty(phi, d, a, *only, free=np.ones((1, 1), dtype=bool), y_size=np.full(1, 3.0))
    assert found.idle[0, 0] == lost


def test_the_right_hand_side_whose_columns_move_most_decides_what_counts_as_rounding():
    """Each has columns of its own; a change that alters one of them by its own size alters the fit by rounding only."""
    rows, eps = 101, np.finfo(float).eps
    along, across = np.linalg.qr(np.random.default_rng(0).standard_normal((rows, 2)))[0].T
    phi = np.stack([along, along])[None, :, :, None]
    a, only = np.array([[[3.0, 0.0]]]), (np.array([0]), np.array([0]))
    for steep, lost in ((1.0, False), (1e3, True)):
        d = np.stack([along + 30 * rows * eps * across, steep * along])[None, :, :, None]
        assert undetermined(phi, d, a, *only, 1, y_size=np.full(1, 3.0))[0, 0] == lost


def test_undetermined_problems_of_a_batch_are_told_one_by_one():
    parts = [solved(), solved(y_unit=1e-9), solved()]
    phi, d, a, size = (np.concatenate([part[i] for part in parts]) for i in range(4))
    a[1, 0] = 0.0
    np.testing.assert_array_equal(
        undetermined(phi, d, a, *PAIRS, 2, y_size=size), [[False, False], [True, False], [False, False]]
    )


def test_equal_columns_leave_their_amplitudes_unknown_and_the_third_known():
    t, y = decay_data()

    def twin(t, w):
        first = np.exp(-t / w[0])
        return np.stack([first, 2 * first, np.exp(-t / w[1])], axis=-1)

    fit = varpro.fit(twin, t, y, [2.0, 6.5])
    np.testing.assert_array_equal(np.isinf(fit.stderr_linear), [True, True, False])
    assert np.isfinite(fit.stderr_nonlinear).all()
    assert fit.dof == 61 - 2 - 2


SHORT = [4.0, 0.99, 1.01, 1.0, 0.98, 1.02]
"""A decay that is over before the second point: any lifetime below two units of t fits as well."""


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
@pytest.mark.parametrize("rates", [False, True])
def test_a_rate_that_may_as_well_be_infinite_is_not_determined(unit, rates):
    """Along rates nothing changes on the far side, along lifetimes on the near one; with another decay beside it."""
    t = np.append(0.0, np.linspace(10.0, 50.0, 30)) * unit
    y = np.where(t == 0, 3.0, 0.0) + np.exp(-t / (40.0 * unit)) + 1e-3 * np.random.default_rng(0).standard_normal(31)
    w = np.array([0.4, 35.0]) * unit
    fit = varpro.fit(Exponentials(2, rates=rates), t, y, 1 / w if rates else w)
    assert fit.status == varpro.Status.UNDETERMINED
    assert np.isposinf(fit.stderr_nonlinear[0])
    found = 1 / fit.nonlinear[1] if rates else fit.nonlinear[1]
    np.testing.assert_allclose(found, 40.0 * unit, rtol=0.01)
    assert np.isfinite(fit.stderr_nonlinear[1])


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
@pytest.mark.parametrize("own", [False, True])
def test_a_lifetime_below_the_distance_of_points_is_not_determined(unit, own):
    t, y = np.arange(0.0, 51.0, 10.0) * unit, np.array(SHORT) / unit
    model = Exponentials(1, offset=True)
    fit = varpro.fit(single if own else model, t, y, [0.5 * unit] if own else None)
    many = varpro.fit_batch(single if own else model, t, np.stack([y, y]), [0.5 * unit] if own else None)
    for found in (fit, many[0], many[1]):
        assert found.status == varpro.Status.UNDETERMINED
        assert np.isposinf(found.stderr_nonlinear).all()
        np.testing.assert_allclose(found.linear, np.array([3.0, 1.0]) / unit, rtol=1e-9)
        np.testing.assert_allclose(found.stderr_linear * unit, [np.sqrt(3e-4), np.sqrt(5e-5)], rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_step_between_two_points_leaves_its_place_and_width_open(seed):
    t = np.linspace(0, 10, 21)
    y = np.where(t > 5.1, 1.0, 0.0) + 0.01 * np.random.default_rng(seed).standard_normal(21)
    fit = varpro.fit(Sigmoids(1, offset=True), t, y)
    assert fit.status == varpro.Status.UNDETERMINED
    assert not np.isfinite(fit.stderr_nonlinear).any()


@pytest.mark.parametrize("center", [0.0, 1e-13, -1e-9])
def test_a_center_at_zero_is_determined(center):
    """Its error is far larger than itself, and is right all the same."""
    t = np.linspace(-5, 5, 101)
    for noise in (0.0, 0.01):
        y = 3 * np.exp(-0.5 * (t - center) ** 2) + noise * np.random.default_rng(0).standard_normal(101)
        y = 0.5 * (y + y[::-1])  # the center is 0 exactly
        fit = varpro.fit(Gaussians(1), t, y, [0.3, 1.2])
        assert fit.success
        assert np.isfinite(fit.stderr_nonlinear).all()
        assert abs(fit.nonlinear[0]) < 1e-6 + fit.stderr_nonlinear[0]


def test_a_poorly_known_lifetime_keeps_its_error():
    """Noise as large as the signal: an error above the parameter itself is still one."""
    t, wide = T[::4], 0
    for seed in range(40):
        noise = np.random.default_rng(seed).standard_normal(16)
        fit = varpro.fit(single, t, single(t, [2.0]) @ [1.0, 0.5] + noise, [2.0])
        if fit.success:
            assert np.isfinite(fit.stderr_nonlinear).all()
            wide += int(fit.stderr_nonlinear[0] > abs(fit.nonlinear[0]))
    assert wide > 5


def test_a_warning_names_what_is_not_determined(y):
    assert "not determined by the data: w_0, w_1" in varpro.fit(product, T, y, [1.0, 1.5]).warnings[0]


AROUND = np.arange(-20.0, 21.0)
BOXES = [{"tau_1": (1e-3, 100.0)}, {"tau_1": (0.1, 0.5)}, {"tau_1": (0.0, np.inf)}, None]


def lost_and_known(t, w):
    """A decay that is over before the second point, a peak at w_1, and a constant."""
    with np.errstate(all="ignore"):
        decay = np.exp(-(t + 20) / w[0])
    return np.stack([decay, np.exp(-0.5 * ((t - w[1]) / 4) ** 2), np.ones_like(t)], -1)


def lost_data(seed, *, even=False, lifetime=0.03):
    noise = 1e-3 * np.random.default_rng(seed).standard_normal(41)
    return lost_and_known(AROUND, [lifetime, 0.0]) @ [3.0, 2.0, 1.0] + (0.5 * (noise + noise[::-1]) if even else noise)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("rates", [False, True])
def test_bounds_on_both_sides_determine_nothing(box, rates):
    t = np.arange(0.0, 51.0, 10.0)
    bounds = {"k_1": tuple(1 / np.maximum(box["tau_1"], 1e-6))[::-1]} if rates and box else box
    start = [3.0 if rates else 0.3]
    fit = varpro.fit(Exponentials(1, offset=True, rates=rates), t, SHORT, start, bounds=bounds)
    assert fit.status == varpro.Status.UNDETERMINED
    assert np.isposinf(fit.stderr_nonlinear).all() or np.isnan(fit.stderr_nonlinear).all()


@pytest.mark.parametrize(("own", "start"), [(False, 0.5), (False, 0.01), (True, 0.5), (True, 2.0)])
def test_what_is_not_determined_counts_for_nothing_wherever_the_search_began(own, start):
    fit = varpro.fit(single if own else Exponentials(1, offset=True), np.arange(0.0, 51.0, 10.0), SHORT, [start])
    assert fit.status == varpro.Status.UNDETERMINED
    assert fit.dof == 4
    np.testing.assert_allclose(fit.stderr_linear, [np.sqrt(3e-4), np.sqrt(5e-5)], rtol=1e-6)  # as if it were known
    np.testing.assert_allclose(fit.leverage.sum(), 2.0, rtol=1e-6)
    assert (fit.leverage <= 1 + 1e-9).all()


@pytest.mark.parametrize(("seed", "even"), [(2, False), (3, False), (4, False), (2, True)])
@pytest.mark.parametrize("options", [{}, {"ridge": 1.0}, {"bounds": ([0.0, -20.0], [100.0, 20.0])}, {"loss": "huber"}])
def test_what_is_known_keeps_its_error_beside_what_is_not(seed, even, options):
    """The center, 0 but for rounding, has an error far larger than itself, and the right one in any zero of t."""
    y = lost_data(seed, even=even, lifetime=0.05)
    fit = varpro.fit(lost_and_known, AROUND, y, [0.075, 0.3], **options)
    known = varpro.fit(lost_and_known, AROUND, y, [0.03, 0.3], fixed={"w_0": 0.03}, **options)
    assert fit.status == varpro.Status.UNDETERMINED
    assert np.isposinf(fit.stderr_nonlinear[0])
    np.testing.assert_allclose(
        fit.stderr_nonlinear[1], known.stderr_nonlinear[1], rtol=0.05 if "loss" in options else 1e-3
    )
    np.testing.assert_allclose(fit.stderr_linear, known.stderr_linear, rtol=0.05 if "loss" in options else 1e-3)


@pytest.mark.parametrize("options", [{}, {"loss": "soft_l1"}])
def test_batches_of_a_plain_function_say_the_same(options):
    """Where a column does not move, a derivative by differences is rounding, and its error as small as one likes."""
    y = np.stack([lost_data(seed, lifetime=0.05) for seed in range(20)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many = varpro.fit_batch(lost_and_known, AROUND, y, [0.075, 0.3], **options)
        errors = many.stderr_nonlinear
    lost = many.status == varpro.Status.UNDETERMINED
    assert 5 < lost.sum() < 15
    assert np.isposinf(errors[lost, 0]).all()
    assert np.isfinite(errors[:, 1]).all()
