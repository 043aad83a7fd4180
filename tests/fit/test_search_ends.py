"""Searches end at the minimum, in any unit and for any kind of parameter, or with a status that says they did not."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import decay_data, decays
from varpro import Status
from varpro.models import Exponentials, Gaussians, Powers

T = np.linspace(0.0, 12.0, 97)
POWERS = [-15, -7, 4, 15]


def noisy(y, size, seed=0):
    return y + size * np.random.default_rng(seed).standard_normal(y.shape)


def decays_with_offset(t, w):
    return np.stack([*np.exp(-t[:, None] / w).T, np.ones_like(t)], axis=-1)


def ringing(t, w):
    """A frequency and a lifetime: numbers that may differ by any factor."""
    return np.stack([np.exp(-t / w[1]) * np.cos(w[0] * t), np.exp(-t / w[1]) * np.sin(w[0] * t)], axis=-1)


@pytest.mark.parametrize("k", POWERS)
@pytest.mark.parametrize("axis", ["t", "y"])
@pytest.mark.parametrize("form", ["ready", "function", "bounded", "batch"])
def test_another_unit_is_another_unit_only(form, axis, k):
    """The same steps, and so the same counts, but for rounding."""
    y = noisy(Exponentials(2, offset=True)(T, [1.0, 4.0]) @ [3.0, 2.0, 0.5], 0.02)
    unit, size = (10.0**k, 1.0) if axis == "t" else (1.0, 10.0**k)
    model = decays if form == "function" else Exponentials(2, offset=True)

    def fit(t_unit, y_unit):
        options = {"bounds": (0.0, 50.0 * t_unit)} if form == "bounded" else {}
        start = np.array([0.6, 7.0]) * t_unit
        if form == "batch":
            return varpro.fit_batch(model, T * t_unit, np.stack([y, y + 0.1]) * y_unit, start)[0]
        return varpro.fit(model, T * t_unit, y * y_unit, start, **options)

    one, other = fit(1.0, 1.0), fit(unit, size)
    assert one.success
    assert other.success
    assert abs(one.nfev - other.nfev) <= 1
    rough = 1e-6 if form == "batch" else 1e-7
    np.testing.assert_allclose(other.nonlinear / unit, one.nonlinear, rtol=rough)
    np.testing.assert_allclose(other.stderr_nonlinear / unit, one.stderr_nonlinear, rtol=1e-4)
    np.testing.assert_allclose(other.linear / size, one.linear, rtol=1e-5)
    np.testing.assert_allclose(other.rss / size**2, one.rss, rtol=1e-10)


@pytest.mark.parametrize("derivative", [None, "differences"])
@pytest.mark.parametrize("scale", [1.0, 1e9, 1e-12])
def test_parameters_of_unlike_size_do_not_hide_each_other(scale, derivative):
    """A frequency of 1e9 and a lifetime of 1e-9, or the reverse: the norm of both says nothing of the smaller."""
    t = T / scale
    y = noisy(ringing(t, [2.0 * scale, 3.0 / scale]) @ [1.0, 0.5], 0.01)
    fit = varpro.fit(ringing, t, y, [1.9 * scale, 5.0 / scale], derivative=derivative)
    assert fit.success
    np.testing.assert_allclose(fit.nonlinear * [1 / scale, scale], [2.0, 3.0], atol=0.2)
    again = varpro.fit(ringing, t, y, fit.nonlinear * [1.001, 0.99], derivative=derivative)
    np.testing.assert_allclose(again.nonlinear, fit.nonlinear, rtol=1e-5)


@pytest.mark.parametrize("epoch", [0.0, 1.7e9, 2.46e6])
def test_a_peak_on_a_clock_is_the_peak_beside_it(epoch):
    y = noisy(Gaussians(1, offset=True)(T, [5.0, 0.8]) @ [2.0, 0.3], 0.02)
    fit = varpro.fit(Gaussians(1, offset=True), T + epoch, y, [epoch + 6.5, 1.5])
    here = varpro.fit(Gaussians(1, offset=True), T, y, [6.5, 1.5])
    assert fit.success
    np.testing.assert_allclose(fit.nonlinear - [epoch, 0.0], here.nonlinear, atol=1e-2 * here.stderr_nonlinear.min())


@pytest.mark.parametrize("start", [0.5, 0.02, 1e-6, 3.0])
def test_a_parameter_may_change_its_sign(start):
    t = np.linspace(1.0, 9.0, 60)
    y = noisy(np.stack([2.0 * t**-0.7, 0.5 * t**-1.3]), 0.01)
    many = varpro.fit_batch(Powers(1), t, y, [start])
    assert many.success.all()
    np.testing.assert_allclose(many.nonlinear[:, 0], [-0.7, -1.3], atol=0.1)
    alone = varpro.fit(lambda t, w: np.power(t, w[0])[:, None], t, y[0], [start])
    np.testing.assert_allclose(alone.nonlinear, many.nonlinear[0], rtol=1e-5)


def test_a_fixed_term_far_from_the_data_does_not_pass_for_a_minimum():
    y = noisy(2.0 * np.exp(-T / 3.0) + 0.3 * np.exp(0.2 * T), 0.01)
    fit = varpro.fit(
        lambda t, w: np.exp(-t / w[0])[:, None], T, y, [1.0, 1.2], fixed_term=lambda t, w: 0.3 * np.exp(w[1] * t)
    )
    assert not fit.success or fit.rss < 0.02
    near = varpro.fit(
        lambda t, w: np.exp(-t / w[0])[:, None], T, y, [2.0, 0.25], fixed_term=lambda t, w: 0.3 * np.exp(w[1] * t)
    )
    assert near.success
    assert near.rss < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_close_decay_times_end_at_the_minimum(seed):
    """Bases so ill-conditioned that scalar products of columns lose the digits that decide a step."""
    rng = np.random.default_rng(seed)
    model, count = Exponentials(2, offset=True), 60
    tau = rng.uniform(1.0, 3.0, (count, 1)) * np.array([[1.0, 1.15]])
    y = np.stack([model(T, w) @ [3.0, 2.0, 0.5] for w in tau]) + 1e-5 * rng.standard_normal((count, len(T)))
    found = varpro.fit_batch(model, T, y, tau * rng.uniform(0.8, 1.25, tau.shape))
    best = varpro.fit_batch(model, T, y, tau)
    least = np.minimum(found.rss, best.rss)
    for result in (found, best):
        wrong = result.success & (result.rss > least * (1 + 1e-6))
        assert not wrong.any(), f"{wrong.sum()} of {count}, by up to {np.max(result.rss / least - 1):.2g}"
    assert found.success.mean() > 0.9


@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e15])
@pytest.mark.parametrize(
    ("data", "model"),
    [
        ("zeros", Exponentials(1, offset=True)),
        ("zeros", lambda t, w: np.exp(-np.multiply.outer(t, 1 / w))),
        ("constant", Exponentials(1, offset=True)),
    ],
)
def test_a_lifetime_without_an_amplitude_is_undetermined(model, data, unit):
    y = np.full(len(T), 0.0 if data == "zeros" else 7.0) * unit
    fit = varpro.fit(model, T, y, [2.0])
    assert fit.status == Status.UNDETERMINED
    assert not fit.success
    assert np.isposinf(fit.stderr_nonlinear).all()
    good = unit * noisy(3.0 * np.exp(-T / 2.5), 0.01)
    many = varpro.fit_batch(model, T, np.stack([good, y, good]), [2.0])
    assert many.status[1] == Status.UNDETERMINED
    assert many.success[[0, 2]].all()


@pytest.mark.parametrize(
    ("form", "fast"),
    [(form, fast) for form in ("ready", "bounded", "many") for fast in (1e-5, 4e-4, 4.4e-4)] + [("function", 4e-4)],
)
def test_a_decay_that_is_over_before_the_second_point_does_not_hold_the_others_back(form, fast):
    """Its slope underflows, or its square does: its time is undetermined, and the rest as if it were a spike."""
    t = np.linspace(0.0, 10.0, 60)
    y = noisy(2 * np.exp(-t / 3) + 1, 0.01)
    y[0] += 1.0
    if form == "many":
        y = np.stack([y] * 12, axis=1)
    model = decays_with_offset if form == "function" else Exponentials(2, offset=True)
    f = varpro.fit(model, t, y, [fast, 3.5], **({"bounds": (0.0, 50.0)} if form == "bounded" else {}))
    rest = varpro.fit(Exponentials(1, offset=True), t[1:], y[1:], [3.5])
    assert (f.status, f.success) == (Status.UNDETERMINED, False)
    assert np.isinf(f.stderr_nonlinear[0])
    np.testing.assert_allclose(f.nonlinear[1], rest.nonlinear[0], rtol=1e-5)
    np.testing.assert_allclose(f.rss, rest.rss, rtol=1e-9)
    np.testing.assert_allclose(f.stderr_nonlinear[1], rest.stderr_nonlinear[0], rtol=1e-3)
    np.testing.assert_allclose(f.stderr_linear[1:], rest.stderr_linear, rtol=1e-3)


def test_an_overshooting_search_is_at_its_minimum_when_it_stalls_there():
    """A large residual: Gauss and Newton's step goes too far for ever, and what is left to gain is rounding."""
    t, y = decay_data(right=2)
    fit = varpro.fit(decays, t, y - [0.9, 0.0], [2.0, 6.5], linear=([0.0, 0.0, 0.7], [2.5, np.inf, 2.0]))
    assert fit.success
    again = varpro.fit(decays, t, y - [0.9, 0.0], fit.nonlinear * 1.01, linear=([0, 0, 0.7], [2.5, np.inf, 2.0]))
    assert again.rss == pytest.approx(fit.rss, rel=1e-12)


@pytest.mark.parametrize("right", [None, 3, 40])
def test_a_tolerance_on_the_rank_is_read_for_any_number_of_right_hand_sides(right):
    y = noisy(Exponentials(2)(T, [2.0, 2.2]) @ np.ones((2, right or 1)), 1e-3)
    y = y[:, 0] if right is None else y
    fit = varpro.fit(Exponentials(2), T, y, [1.9, 2.4], rank_tolerance=0.3, max_iterations=3)
    assert fit.rank == 1
    assert varpro.fit(Exponentials(2), T, y, [1.9, 2.4], max_iterations=3).rank == 2


@pytest.mark.parametrize("height", [1e4, 1e8, 1e9])
def test_a_background_far_above_the_signal_does_not_end_the_search(height):
    """The rounding of the background is far below the noise, so the signal is there to be found."""

    def model(t, w):
        return np.stack([np.exp(-t / w[0]), np.ones_like(t)], axis=-1)

    y = noisy(model(T, [2.0]) @ [3.0, 0.0], 0.02)
    here = varpro.fit(model, T, y, [1.0])
    fit, many = varpro.fit(model, T, y + height, [1.0]), varpro.fit_batch(model, T, (y + height)[None], [1.0])
    assert fit.success
    assert many.success[0]
    for found in (fit.nonlinear[0], many.nonlinear[0, 0]):
        assert abs(found - here.nonlinear[0]) < 1e-3 * here.stderr_nonlinear[0]


@pytest.mark.parametrize(("place", "width"), [(1e9, 1e-2), (1.7e9, 1e-1), (2.46e6, 1e-4)])
def test_a_center_known_to_its_last_digit_has_been_found(place, width):
    """What is left to gain lies between two neighbouring numbers."""
    t = place + np.linspace(-5.0, 5.0, 201) * width
    for seed in range(5):
        y = noisy(5.0 * np.exp(-0.5 * ((t - place - 0.4 * width) / (1.1 * width)) ** 2) + 1.0, 0.05, seed)
        fit = varpro.fit(Gaussians(1, offset=True), t, y, [place + width, 2.0 * width])
        assert fit.success, fit.message
        assert abs(fit.nonlinear[1] / width - 1.1) < 0.1


@pytest.mark.parametrize("model_is_complex", [True, False])
def test_a_fixed_term_of_complex_data_keeps_the_coefficient_one(model_is_complex):
    turn = 1j if model_is_complex else 0.0

    def model(t, w):
        return np.exp(-t / w[0] - turn * t)[:, None]

    def term(t, w):
        return 0.5 * np.cos(t / w[1])

    z = model(T, [2.0]) @ [1.0 - 1.0j] + term(T, [0.0, 5.0])
    z = z + 0.01 * (np.random.default_rng(0).standard_normal((2, len(T))) * [[1], [1j]]).sum(axis=0)
    for options in ({}, {"ridge": 1e-12}, {"weights": np.full(len(T), 2.0)}):
        fit = varpro.fit(model, T, z, [2.2, 5.3], fixed_term=term, **options)
        assert fit.success
        assert fit.linear.shape == (1,)
        assert (np.abs(fit.nonlinear - [2.0, 5.0]) < 5 * fit.stderr_nonlinear).all()
        np.testing.assert_allclose(fit.linear, [1.0 - 1.0j], atol=0.02)
        np.testing.assert_allclose(fit.fitted, z, atol=0.06)
        assert fit.dof == pytest.approx(2 * len(T) - 4)


@pytest.mark.parametrize("unit", [1.0, 1e-15, 1e12])
@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0), (1e-9, 1e9, 1.0)])
def test_equations_of_amplitudes_hold_in_any_unit(scales, unit):
    scales = np.array(scales)
    base = Exponentials(2, offset=True)
    y = unit * noisy(base(T, [1.0, 4.0]) @ [3.0, 2.0, 0.5], 0.01)
    c = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1e-18]]) * scales

    def model(t, w):
        return decays(t, w) * scales

    fit = varpro.fit(model, T, y, [0.6, 6.0], linear_equality=(c, [5.0 * unit, 0.45e-18 * unit]))
    assert fit.success
    np.testing.assert_allclose(fit.linear * scales / unit @ [[1, 0], [1, 0], [0, 1]], [5.0, 0.45], rtol=1e-9)
    plain = varpro.fit(
        decays, T, y / unit, [0.6, 6.0], linear_equality=([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [5.0, 0.45])
    )
    np.testing.assert_allclose(fit.nonlinear, plain.nonlinear, rtol=1e-6)
    assert fit.dof == plain.dof
    with pytest.raises(varpro.errors.ConfigError, match="no amplitudes meet"):
        varpro.fit(model, T, y, [0.6, 6.0], linear_equality=(c[[0, 0]], [5.0 * unit, 6.0 * unit]))


@pytest.mark.parametrize("form", ["descending", "growing"])
@pytest.mark.parametrize("count", [250, 256, 768])
def test_a_decay_may_be_followed_backwards(form, count):
    """Its values grow along t from below the smallest number: none may be made from one that has underflowed."""
    t = np.arange(float(count))
    y = noisy(Exponentials(1, offset=True)(t, [0.3]) @ [3.0, 1.0], 0.01)
    expected = varpro.fit(Exponentials(1, offset=True), t, y, [0.32])
    model, points, start = Exponentials(1, offset=True), t[::-1].copy(), [0.32]
    if form == "growing":
        model, points, start = Exponentials(1, offset=True, rates=True), t - t[-1], [-1 / 0.32]
    value = varpro.functional(model, points, y[::-1].copy(), w0=start).value_and_gradient(start)[0]
    phi = model(points, np.asarray(start))
    rest = y[::-1] - phi @ np.linalg.lstsq(phi, y[::-1], rcond=None)[0]
    assert 2 * value == pytest.approx(rest @ rest, rel=1e-9)
    if form == "descending":
        f = varpro.fit(model, points, y[::-1].copy(), start)
        assert f.success
        np.testing.assert_allclose(f.rss, expected.rss, rtol=1e-9)
        np.testing.assert_allclose(f.nonlinear, expected.nonlinear, rtol=1e-5)
