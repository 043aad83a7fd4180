"""Numeric derivatives are equally good in any unit and at any offset, whatever the function does with its arrays."""

import math
import pickle
import warnings

import numpy as np
import pytest

import varpro
from tests.fit.nist import PROBLEMS, load
from tests.fit.problems import DECAY_DERIVATIVE, EPS, decay_columns, decay_data, decays
from varpro.errors import ConfigError, ShapeError
from varpro.fitting.make_model import make_model
from varpro.fitting.stencil import Plan, Quotients

ONE = np.zeros(1, dtype=int)
W0 = [2.0, 3.0]
FINE, CHEAP = 1e-10, 1e-8  # eps^(4/5) and eps^(2/3), each with a factor of 100 and more for unlike columns


def prepared(function, t, w, derivative="differences", **options):
    return make_model(function, t, np.atleast_2d(w), len(t), own_t=False, derivative=derivative, batch=False, **options)


def error_of(model, w, expected, *, fine):
    """Largest error of any column, relative to its largest value; expected (N, M) in the order of the model's pairs."""
    d = model.derivatives(np.atleast_2d(w), ONE, fine=fine)[0]
    return (np.abs(d - expected).max(axis=0) / np.abs(expected).max(axis=0)).max()


def line(t, w):
    return np.stack([np.exp(-0.5 * ((t - w[0]) / w[1]) ** 2), np.ones_like(t)], axis=-1)


def line_columns(t, w):
    z = (t - w[0]) / w[1]
    return np.stack([z, z * z], axis=-1) * np.exp(-0.5 * z * z)[:, None] / w[1]


@pytest.mark.parametrize("power", range(-15, 16, 5))
@pytest.mark.parametrize("size", [1e-15, 1.0, 1e15])
def test_differences_are_as_good_in_any_unit(power, size):
    unit = 10.0**power
    t, w = np.linspace(0, 12, 61) * unit, np.array([1.0, 4.0]) * unit
    model = prepared(lambda t, w: size * decays(t, w), t, w)
    assert model.pairs.tolist() == [[0, 0], [1, 1]]
    expected = size * decay_columns(t, w)
    assert error_of(model, w, expected, fine=True) < FINE
    assert error_of(model, w, expected, fine=False) < CHEAP
    moved = 3.1 * w  # beyond the radius in which the scales hold
    assert error_of(model, moved, size * decay_columns(t, moved), fine=False) < CHEAP


@pytest.mark.parametrize("power", [-15, -6, 0, 9, 15])
@pytest.mark.parametrize(
    ("centre", "width"), [(15_000.0, 0.01), (1.7e9, 5.0), (384_230.4845, 0.003), (0.0, 1.0), (1e-9, 1.0)]
)
def test_a_step_suits_the_width_of_a_line_not_its_distance_from_zero(power, centre, width):
    unit = 10.0**power
    t = (centre + width * np.linspace(-9, 11, 83)) * unit
    w = np.array([centre + 0.3 * width * (centre > 1), width]) * unit
    model = prepared(line, t, w)
    assert model.pairs.tolist() == [[0, 0], [0, 1]]
    expected = line_columns(t, w)
    assert error_of(model, w, expected, fine=True) < FINE
    assert error_of(model, w, expected, fine=False) < CHEAP


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
def test_a_start_at_zero_and_a_scale_that_is_told_lead_to_the_same_derivative(unit):
    t = np.linspace(0.2, 9, 47)

    def waves(t, w):
        return np.stack([np.sin(w[0] / unit * t), np.cos(w[0] / unit * t - 0.7)], axis=-1)

    expected = np.stack([t, np.sin(0.7) * t], axis=-1) / unit
    for scale in (None, np.array([1e3 * unit]), np.array([unit])):
        assert error_of(prepared(waves, t, [0.0], scale=scale), [0.0], expected, fine=True) < FINE


@pytest.mark.parametrize("name", [name for name, problem in PROBLEMS.items() if len(problem.pairs)])
def test_the_models_of_nist_as_plain_functions(name):
    problem, data = PROBLEMS[name], load(name)
    for b in (data.starts[1], data.certified):
        w = problem.start(b)
        for derivative, limit in (("differences", FINE), (None, 1e3 * EPS)):
            model = prepared(problem.model, data.x, w, derivative)
            order = [problem.pairs.tolist().index(pair) for pair in model.pairs.tolist()]
            assert len(order) == len(problem.pairs)
            expected = problem.columns(data.x, w)[:, order]
            assert error_of(model, w, expected, fine=True) < limit
            assert error_of(model, w, expected, fine=False) < (CHEAP if derivative else limit)
        assert varpro.check_derivative(problem.model, data.x, w, (problem.pairs, problem.columns)) < 1e-9


def test_no_point_lies_outside_the_bounds():
    seen = []

    def recorded(t, w):
        seen.append(np.array(w))
        return decays(t, np.abs(w))

    t, y = decay_data()
    for lower, upper in (([1.0, 1.0], [2.0, 4.0]), ([1.0985, 3.0], [1.0986, 9.0]), ([0.0, 4.4], [np.inf, 5.0])):
        seen.clear()
        fit = varpro.fit(recorded, t, y, np.clip([1.5, 3.5], lower, upper), bounds=(lower, upper))
        real = np.array([w for w in seen if not np.iscomplexobj(w)])
        assert fit.success
        assert (real >= lower).all()
        assert (real <= upper).all()


def test_a_model_that_is_finite_on_one_side_only_is_differentiated_from_there():
    t = np.linspace(0, 3, 31)

    def root(t, w):
        return np.stack([np.sqrt(w[0] - 1.0) * t + np.exp(-t * w[0])], axis=-1)

    w = np.array([1.0 + 1e-6])
    expected = (0.5 / np.sqrt(w[0] - 1.0) * t - t * np.exp(-t * w[0]))[:, None]
    with np.errstate(all="ignore"):
        assert error_of(prepared(root, t, w), w, expected, fine=True) < 10 * FINE  # its scale is 1e-6 of w


def preallocated(t, w):
    out = np.empty((len(t), 3))
    out[:, 0], out[:, 1], out[:, 2] = np.exp(-t / w[0]), np.exp(-t / w[1]), 1.0
    return out


def scalar_mathematics(t, w):
    return np.array([[math.exp(-x / w[0]), math.exp(-x / w[1]), 1.0] for x in t])


NOT_ANALYTIC = {
    "abs": lambda t, w: decays(t, np.abs(w)),
    "real": lambda t, w: decays(t, np.real(w)),
    "conj": lambda t, w: decays(t, np.conj(w)),
    "sign": lambda t, w: decays(t, w * np.sign(w)),
    "float": lambda t, w: decays(t, [float(w[0]), float(w[1])]),
    "math": scalar_mathematics,
    "preallocated": preallocated,
    "small part": lambda t, w: decays(t, w) + 1e-4 * np.abs(w[0]),
    "heaviside": lambda t, w: decays(t, w) * np.heaviside(w[0], 1.0),
    "changes w": lambda t, w: decays(t, np.abs(w, out=w) if not np.iscomplexobj(w) else abs(w)),
}


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_functions_that_are_not_analytic_are_found_out_without_a_warning(name):
    t, y = decay_data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = varpro.fit(NOT_ANALYTIC[name], t, y, W0)
    assert fit.derivative == "differences"
    if name != "small part":
        exact = varpro.fit(decays, t, y, W0, derivative=DECAY_DERIVATIVE)
        np.testing.assert_allclose(fit.nonlinear, exact.nonlinear, rtol=1e-8)
        np.testing.assert_allclose(fit.stderr_nonlinear, exact.stderr_nonlinear, rtol=1e-8)


def test_a_complex_step_that_the_function_does_not_allow_is_refused():
    t, y = decay_data()
    for name in ("abs", "preallocated"):
        with pytest.raises(ConfigError, match="complex-step"):
            varpro.fit(NOT_ANALYTIC[name], t, y, W0, derivative="complex-step")


def test_a_kink_that_the_start_does_not_show_is_found_out_where_the_search_passes_it():
    t, y = decay_data()

    def bent(t, w):  # the part beyond 1.3 is not analytic
        return decays(t, [w[0] if np.real(w[0]) > 1.3 else np.real(w[0]), w[1]])

    fit = varpro.fit(bent, t, y, [2.0, 4.0])
    exact = varpro.fit(decays, t, y, [2.0, 4.0], derivative=DECAY_DERIVATIVE)
    assert fit.derivative == "differences"
    np.testing.assert_allclose(fit.nonlinear, exact.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(fit.stderr_nonlinear, exact.stderr_nonlinear, rtol=1e-8)


@pytest.mark.parametrize("offset", [0.0, 1.6e9, 1.6e12])
def test_the_complex_step_is_recognised_however_coarse_the_parameter_is(offset):
    t = offset + np.linspace(0, 100, 61)  # at 1.6e12 numbers are 2.4e-4 apart
    assert prepared(line, t, [offset + 45.0, 6.0], None).derivative == "complex-step"


class Refilling:
    """decays and their derivative, from one buffer each."""

    def __init__(self, width):
        self.buffer = np.empty((61, width))

    def values(self, t, w):
        self.buffer[:] = decays(t, w)
        return self.buffer

    def columns(self, t, w):
        self.buffer[:] = decay_columns(t, w)
        return self.buffer


@pytest.mark.parametrize("option", [{}, {"bounds": ([0, 0], [9, 9])}, {"linear": "nonnegative"}])
def test_a_function_that_refills_its_buffer_is_fitted_like_any_other(option):
    t, y = decay_data()
    exact = varpro.fit(decays, t, y, W0, derivative=DECAY_DERIVATIVE, **option)
    numeric = varpro.fit(Refilling(3).values, t, y, W0, **option)
    given = varpro.fit(Refilling(3).values, t, y, W0, derivative=([[0, 0], [1, 1]], Refilling(2).columns), **option)
    for fit in (numeric, given):
        np.testing.assert_allclose(fit.nonlinear, exact.nonlinear, rtol=1e-8)
        np.testing.assert_allclose(fit.stderr_nonlinear, exact.stderr_nonlinear, rtol=1e-8)
        np.testing.assert_allclose(fit.fitted, exact.fitted, rtol=1e-8)


@pytest.mark.parametrize("convert", [lambda a: a.tolist(), np.asfortranarray, lambda a: a[:, ::-1].copy()[:, ::-1]])
def test_lists_and_other_orders_are_columns_too(convert):
    t, y = decay_data()
    exact = varpro.fit(decays, t, y, W0, derivative=DECAY_DERIVATIVE)
    fit = varpro.fit(lambda t, w: convert(decays(t, w)), t, y, W0)
    np.testing.assert_allclose(fit.nonlinear, exact.nonlinear, rtol=1e-8)


@pytest.mark.parametrize("within", [False, True])
def test_single_precision_is_noticed_and_steps_are_longer(within):
    t, w = np.linspace(0, 12, 61), np.array(W0)

    def single(t, w):
        low = decays(t.astype(np.float32), np.asarray(w, dtype=np.float32))
        return low.astype(float) if within else low

    model = prepared(single, t, w)
    assert error_of(model, w, decay_columns(t, w), fine=True) < 1e-3  # eps^(4/5) of float32, with a factor of 100
    assert model.numeric.noise > 1e-9


def test_one_column_without_its_dimension_is_told():
    t, y = decay_data()
    with pytest.raises(ShapeError, match=r"\(61,\).*needs \(N, I\)"):
        varpro.fit(lambda t, w: np.exp(-t / w[0]), t, y, [2.0])


def test_a_parameter_that_the_start_makes_ineffective_gets_its_pairs():
    t = np.linspace(0, 3, 31)
    model = prepared(lambda t, w: np.exp(-t[:, None] * w[0] * w[1]), t, [2.0, 0.0])
    assert model.pairs.tolist() == [[0, 0], [0, 1]]


def bent_wave(t, w):
    return np.abs(np.sin(w[1] * t))


def bent_wave_columns(t, w):
    slope = np.sign(np.sin(w[1] * t)) * np.cos(w[1] * t) * t
    return np.stack([np.zeros_like(t), slope], axis=-1)


def one_decay(t, w):
    first = np.exp(-t / w[0])
    return np.stack([first, np.ones_like(first)], axis=-1)


def one_decay_columns(t, w):
    return (t / w[0] ** 2 * np.exp(-t / w[0]))[..., None]


@pytest.mark.parametrize("phase", [1.0, 1j])
def test_a_fixed_term_is_differentiated_like_a_column_whoever_gives_the_rest(phase):
    t = np.linspace(0, 12, 61)

    def term(t, w):
        return phase * bent_wave(t, w)

    def term_columns(t, w):
        return phase * bent_wave_columns(t, w)

    w = np.array([1.5, 0.21])
    y = one_decay(t, w) @ [3.0, 1.0] + term(t, w)
    for derivative in (None, ([[0, 0]], one_decay_columns)):
        for given in (None, term_columns):
            fit = varpro.fit(
                one_decay, t, y, w, derivative=derivative, fixed_term=term, fixed_term_derivative=given,
                max_iterations=1,
            )  # fmt: skip
            model = fit._solution.spec.model
            d = model.derivatives(w[None], ONE, fine=True)[0]
            found = np.zeros((61, 3, 2), dtype=complex)
            for m, (j, p) in enumerate(model.pairs):
                found[:, j, p] += d[:, m]
            expected = np.zeros_like(found)
            expected[:, 0, 0], expected[:, 2] = one_decay_columns(t, w)[:, 0], term_columns(t, w)
            np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_a_batch_without_derivative_gives_what_single_fits_with_one_give():
    rng = np.random.default_rng(3)
    t = np.linspace(0, 12, 61)
    tau = np.stack([rng.uniform(0.5, 1.5, 23), rng.uniform(3, 6, 23)], axis=1)
    y = np.stack([decays(t, w) @ [2.0, 3.0, 0.5] for w in tau]) + 0.02 * rng.standard_normal((23, 61))
    tight = {"cost_tolerance": 1e-14, "step_tolerance": 1e-10}
    for unit in (1e-12, 1.0, 1e9):
        many = varpro.fit_batch(decays, t * unit, y, 1.1 * tau * unit, **tight)
        assert many._solution.spec.model.together
        for b in (0, 11, 22):
            one = varpro.fit(decays, t, y[b], 1.1 * tau[b], derivative=DECAY_DERIVATIVE)
            np.testing.assert_allclose(many.nonlinear[b] / unit, one.nonlinear, rtol=1e-7)
            np.testing.assert_allclose(many.stderr_nonlinear[b] / unit, one.stderr_nonlinear, rtol=1e-6)
            sliced = pickle.loads(pickle.dumps(many))[b]
            np.testing.assert_allclose(sliced.stderr_nonlinear, many.stderr_nonlinear[b], rtol=1e-9)


def test_differences_of_first_order_take_the_columns_that_are_known():
    t, w = np.linspace(0, 12, 61), np.array([[1.0, 4.0], [1.1, 4.5], [0.9, 3.0]])
    model = make_model(decays, t, w, 61, own_t=False, derivative=None, batch=True)
    phi, d = model.both(w, np.arange(3))
    np.testing.assert_array_equal(phi, model.values(w, np.arange(3)))
    expected = np.stack([decay_columns(t, v) for v in w])
    assert (np.abs(d - expected).max(axis=1) <= 1e-6 * np.abs(expected).max(axis=1)).all()  # sqrt(eps), a factor of 60


CALLS_ONE_BY_ONE = {
    "largest of all": lambda t, w: decays(t, w) / np.max(np.exp(-np.min(t) / w[0]) + 0 * t[..., :1] + 1e-3 * w[0]),
    "one bad spoils all": lambda t, w: decays(t, w) * (np.nan if np.isnan(np.sum(w)) else 1.0),
    "first row's t": lambda t, w: decays(t if t.ndim == 1 else np.broadcast_to(t[0], t.shape), w),
    "length of t": lambda t, w: np.stack([np.exp(-t / w[0]), np.exp(-t / w[1]), np.linspace(1, 2, len(t))], axis=-1),
    "order of problems": lambda t, w: decays(t, w) + (0 if t.ndim == 1 else np.arange(len(t))[:, None, None]),
}


@pytest.mark.parametrize("name", CALLS_ONE_BY_ONE)
@pytest.mark.parametrize("count", [3, 4, 61])
def test_a_function_that_mixes_its_problems_is_called_one_by_one(name, count):
    t = np.linspace(0, 12, count) + np.linspace(0, 1, count)[:, None]  # as many points as problems
    w = np.linspace(1, 2, 2 * count).reshape(count, 2)
    model = make_model(CALLS_ONE_BY_ONE[name], t, w, count, own_t=True, derivative=None, batch=True)
    assert not model.together
    assert make_model(decays, t, w, count, own_t=True, derivative=None, batch=True).together


def test_columns_of_a_derivative_that_take_one_problem_only_are_called_one_by_one():
    t, y = decay_data()
    derivative = ([[0, 0]], lambda t, w: (t / w[0] ** 2 * np.exp(-t / w[0]))[:, None])
    many = varpro.fit_batch(one_decay, t, np.stack([y] * 3), [2.0], derivative=derivative)
    np.testing.assert_allclose(many.nonlinear[2], varpro.fit(one_decay, t, y, [2.0]).nonlinear, rtol=1e-6)


@pytest.mark.parametrize("power", [-15, -6, 0, 6, 15])
@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_check_derivative_is_as_strict_in_any_unit(power, size):
    unit = 10.0**power
    t, w = np.linspace(0, 12, 61) * unit, np.array([1.0, 4.0]) * unit

    def scaled(t, w):
        return size * decays(t, w)

    assert varpro.check_derivative(scaled, t, w, ([[0, 0], [1, 1]], lambda t, w: size * decay_columns(t, w))) < 1e-9
    for factor in (1 + 1e-4, -1.0, 0.0):
        wrong = [[0, 0], [1, 1]], lambda t, w, factor=factor: size * decay_columns(t, w) * [1.0, factor]
        with pytest.raises(ConfigError, match=r"column 1, parameter 1\) is wrong"):
            varpro.check_derivative(scaled, t, w, wrong)
    with pytest.raises(ConfigError, match=r"column 1, parameter 1\) is missing"):
        varpro.check_derivative(scaled, t, w, ([[0, 0]], lambda t, w: size * decay_columns(t, w)[:, :1]))


@pytest.mark.parametrize(
    ("scale", "message"),
    [({"b": 1.0}, "no parameter is called 'b'"), ([0.0], "scale of a is 0"), ([1.0, 2.0], r"shape \(2,\)")],
)
def test_a_scale_that_cannot_be_is_told(scale, message):
    t, y = decay_data()
    with pytest.raises((ConfigError, ShapeError), match=message):
        varpro.fit(one_decay, t, y, [2.0], names=["a"], scale=scale)


def test_quotients_take_a_function_that_is_complex_at_some_points_only() -> None:
    plan = Plan.of(np.array([[0, 0], [1, 1]]), together=False)
    base, first = np.zeros((1, 3, 2)), np.ones((1, 3, 2))
    found, width = Quotients(plan), np.full((1, 2), 0.5)
    found.add(plan.groups[0], first, base, np.arange(1), width)
    found.add(plan.groups[1], 1j * first, base, np.arange(1), width)
    np.testing.assert_array_equal(found.d[0], [[2.0, 2.0j]] * 3)
    assert found.finite
