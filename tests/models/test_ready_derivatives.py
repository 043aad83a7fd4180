"""Every ready-made model: derivatives, zero pattern, batches, sums and the compiled program against plain formulas."""

import itertools
import pickle

import numpy as np
import pytest

from tests.oracle import central_differences, relative_error
from varpro.errors import ConfigError, ShapeError
from varpro.models.exponentials import Exponentials
from varpro.models.kinetics import Kinetics
from varpro.models.lineshapes import Fano, Pearson, PseudoVoigt
from varpro.models.peaks import Gaussians, Lorentzians, Voigt
from varpro.models.powers import Constant, Polynomial, Powers
from varpro.models.rational import Rational
from varpro.models.relaxation import InversionRecovery
from varpro.models.response import SeenExponentials
from varpro.models.saturation import Hill, MichaelisMenten, Sigmoids
from varpro.models.separable import Column, Model
from varpro.models.sinusoids import DampedSinusoids
from varpro.models.stretched import StretchedExponentials
from varpro.models.sums import Sum

N = 37
T = np.linspace(0.0, 7.2, N)
IRF = np.exp(-0.5 * ((T - 0.8) / 0.3) ** 2)
CASES = {
    "decays": (Exponentials(2, offset=True), [0.7, 3.1]),
    "rates": (Exponentials(3, rates=True), [0.2, 0.9, 0.0]),
    "seen decays": (Exponentials(2, offset=True, convolve=IRF), [0.7, 3.1]),
    "seen rates": (Exponentials(1, rates=True, convolve=IRF), [0.7]),
    "gaussians": (Gaussians(2, offset=True), [2.1, 0.6, 4.5, 1.3]),
    "gaussians of one width": (Gaussians(3, shared_width=True), [2.1, 3.3, 4.5, 0.7]),
    "lorentzians": (Lorentzians(2), [2.1, 0.6, 4.5, -1.3]),
    "lorentzians of one width": (Lorentzians(2, offset=True, shared_width=True), [2.1, 4.5, 0.8]),
    "voigt": (Voigt(2, offset=True), [2.1, 0.6, 0.3, 4.5, 0.2, 0.9]),
    "voigt of one width": (Voigt(2, shared_width=True), [2.1, 4.5, -0.4, -0.3]),
    "sinusoids": (DampedSinusoids(2, offset=True), [0.2, 3.0, 0.5, 7.0]),
    "rational": (Rational(2, 3), [0.4, 0.2, 0.05]),
    "simplest rational": (Rational(0, 1), [0.4]),
    "powers": (Powers(2, offset=True), [0.6, 2.3]),
    "polynomial": (Polynomial(3), []),
    "constant": (Constant(), []),
    "stretched": (StretchedExponentials(2, offset=True), [0.7, 0.6, 3.1, 1.7]),
    "through a response": (SeenExponentials(2, offset=True), [0.7, 3.1, 1.2, 0.25]),
    "long after a response": (SeenExponentials(1), [0.4, 0.9, 0.3]),
    "pseudo-voigt": (PseudoVoigt(2, offset=True), [2.1, 0.6, 4.5, 1.3]),
    "pearson": (Pearson(2), [2.1, 0.6, 0.8, 4.5, 1.3, 6.0]),
    "pearson of one width": (Pearson(2, shared_width=True), [2.1, 4.5, 0.8, 1.5]),
    "fano": (Fano(2, offset=True), [2.1, 0.6, 4.5, -1.3]),
    "sigmoids": (Sigmoids(2, offset=True), [2.1, 0.6, 4.5, -0.3]),
    "hill": (Hill(2, offset=True), [0.7, 1.4, 3.1, 2.8]),
    "michaelis-menten": (MichaelisMenten(2), [0.7, 3.1]),
    "recovery": (InversionRecovery(2), [0.7, 1.9, 3.1, 1.2]),
    "magnitude of a recovery": (InversionRecovery(1, magnitude=True, offset=True), [1.9, 1.85]),
    "sequential scheme": (Kinetics([("A", "B"), ("B", "C"), ("C", None)]), [2.0, 0.7, 0.3]),
    "branched scheme": (Kinetics([("A", "B"), ("A", "C"), ("C", "B")], {"A": 1.0, "C": 0.5}), [2.0, 0.7, 0.3]),
    "reversible scheme": (Kinetics([("A", "B"), ("B", "A"), ("B", None)]), [2.0, 0.7, 0.3]),
    "scheme of equal rates": (Kinetics([("A", "B"), ("B", None)]), [0.7, 0.7]),
    "sum": (Gaussians(1) + Polynomial(1) + Exponentials(2) + Exponentials(1, rates=True), [2.1, 0.6, 0.7, 3.1, 0.4]),
}
NAMES = list(CASES)
REAL_ONLY = [name for name in NAMES if name.startswith("voigt") or name.split()[-1] in ("response", "scheme", "rates")]
REAL_ONLY = [*(name for name in REAL_ONLY if name not in ("rates", "seen rates")), "magnitude of a recovery"]
HOLOMORPHIC = [name for name in NAMES if name not in REAL_ONLY]
COMPILED = ("decays", "rates", "gaussian", "lorentzian", "polynomial", "constant", "sum")
EPS = np.finfo(float).eps


def case(name: str) -> tuple[Model, np.ndarray]:
    model, w = CASES[name]
    return model, np.array(w)


def complex_step(model: Model, w: np.ndarray) -> np.ndarray:
    """(N, I, P): exact to rounding, for no difference is taken."""
    step = 1e-30
    slopes = [model(T, w + 1j * step * unit).imag / step for unit in np.eye(len(w))]
    return np.stack(slopes, axis=-1) if slopes else np.zeros((*model(T, w).shape, 0))


def dense(model: Model, w: np.ndarray) -> np.ndarray:
    """(N, I, P) from the compressed storage."""
    out = np.zeros((N, len(model.column_names), len(w)))
    columns = model.columns(T, w)
    assert columns.shape == (N, len(model.pairs))
    for m, (j, p) in enumerate(model.pairs):
        out[:, j, p] += columns[:, m]
    return out


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_compressed_derivatives_are_those_of_the_complex_step_and_all_others_zero(name):
    model, w = case(name)
    expected = complex_step(model, w)
    np.testing.assert_allclose(dense(model, w), expected, rtol=0, atol=200 * EPS * np.abs(expected).max(initial=1.0))


@pytest.mark.parametrize("name", REAL_ONLY)
def test_the_other_derivatives_are_those_of_central_differences_and_all_others_zero(name):
    model, w = case(name)
    expected = central_differences(lambda v: model(T, v).ravel(), w).reshape(N, -1, len(w))
    # with equal rates the exponential is one of matrices, exact to 1e-14 only, which a difference makes 1e-8
    assert relative_error(dense(model, w), expected) < (1e-7 if name == "scheme of equal rates" else 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_names_agree_and_no_pair_comes_twice(name):
    model, w = case(name)
    assert model(T, w).shape == (N, len(model.column_names))
    assert len(model.parameter_names) == len(w)
    assert len(set(model.parameter_names)) == len(w)
    assert len(set(model.column_names)) == len(model.column_names)
    assert model.pairs.shape == (len(model.pairs), 2)
    assert np.issubdtype(model.pairs.dtype, np.integer)
    assert len({tuple(pair) for pair in model.pairs.tolist()}) == len(model.pairs)


@pytest.mark.parametrize("own_t", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_equals_its_problems_one_by_one(name, own_t):
    model, w = case(name)
    b = 5
    many = w[:, None] * np.linspace(0.9, 1.2, b)
    t = T * np.linspace(0.8, 1.1, b)[:, None] if own_t else T
    before = many.copy()
    phi, d = model(t, many[:, :, None]), model.columns(t, many[:, :, None])
    assert phi.shape == (b, N, len(model.column_names))
    assert d.shape == (b, N, len(model.pairs))
    for i in range(b):
        ti = t[i] if own_t else t
        np.testing.assert_allclose(phi[i], model(ti, many[:, i]), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(d[i], model.columns(ti, many[:, i]), rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(many, before)


def by_hand(column: Column, t: np.ndarray, w: np.ndarray) -> np.ndarray:
    v = [w[p] for p in column.parameters]
    match column.kind:
        case "power":
            return t**column.constant
        case "decay":
            return np.exp(-t / v[0])
        case "rate":
            return np.exp(-v[0] * t)
        case "gaussian":
            return np.exp(-((t - v[0]) ** 2) / (2 * v[1] ** 2))
        case "lorentzian":
            return v[1] ** 2 / ((t - v[0]) ** 2 + v[1] ** 2)
    raise AssertionError(column.kind)


@pytest.mark.parametrize("name", NAMES)
def test_the_program_makes_the_columns_and_orders_the_pairs(name):
    model, w = case(name)
    program = model.program()
    if program is None:
        assert "seen" in name or not name.startswith(COMPILED)
        return
    np.testing.assert_allclose(np.stack([by_hand(c, T, w) for c in program], axis=1), model(T, w), rtol=1e-13)
    assert [(j, p) for j, c in enumerate(program) for p in c.parameters] == [tuple(pair) for pair in model.pairs]


def test_a_sum_with_one_part_that_is_not_compiled_has_no_program():
    assert (Exponentials(1) + Powers(1)).program() is None


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(NAMES, 2)))
def test_a_sum_holds_both_parts_one_after_another_under_names_of_their_own(first, second):
    (a, u), (b, v) = case(first), case(second)
    both, w = a + b, np.concatenate([u, v])
    np.testing.assert_array_equal(both(T, w), np.concatenate([a(T, u), b(T, v)], axis=1))
    np.testing.assert_array_equal(both.columns(T, w), np.concatenate([a.columns(T, u), b.columns(T, v)], axis=1))
    behind = b.pairs + np.array([len(a.column_names), len(u)])
    np.testing.assert_array_equal(both.pairs, np.concatenate([a.pairs, behind]))
    assert len(set(both.parameter_names)) == len(w)
    assert len(set(both.column_names)) == len(a.column_names) + len(b.column_names)


def test_names_that_clash_are_numbered_on():
    both = Exponentials(2, offset=True) + Gaussians(1, offset=True) + Exponentials(1)
    assert both.parameter_names == ("tau_1", "tau_2", "center_1", "width_1", "tau_3")
    assert both.column_names == ("exp_1", "exp_2", "offset", "gaussian_1", "offset_2", "exp_3")


def test_sums_of_sums_are_flat():
    a, b, c = Constant(), Powers(1), Gaussians(1)
    assert (a + (b + c)).parts == (a, b, c) == ((a + b) + c).parts


def test_the_convolution_is_the_causal_sum():
    model = Exponentials(1, convolve=IRF)
    decay = np.exp(-T / 1.7)
    expected = [sum(IRF[m] * decay[n - m] for m in range(n + 1)) for n in range(N)]
    np.testing.assert_allclose(model(T, np.array([1.7]))[:, 0], expected, atol=N * EPS * IRF.sum())


def test_a_response_acts_forwards_in_time_in_whatever_order_the_points_come():
    model, turned = (Exponentials(2, offset=True, convolve=irf) for irf in (IRF, IRF[::-1]))
    w = np.array([0.7, 3.1])
    for t in (T, np.stack([T, T + 40.0])):
        v = w if t.ndim == 1 else np.stack([w, w], axis=1)[..., None]
        atol = N * EPS * IRF.sum()
        np.testing.assert_allclose(turned(t[..., ::-1], v), model(t, v)[..., ::-1, :], atol=atol)
        np.testing.assert_allclose(turned.columns(t[..., ::-1], v), model.columns(t, v)[..., ::-1, :], atol=10 * atol)
    y = model(T, w) @ [2.0, 1.0, 0.3] + 1e-4 * np.random.default_rng(0).standard_normal(N)
    np.testing.assert_allclose(turned.guess(T[::-1], y[::-1]), model.guess(T, y), rtol=1e-6)
    with pytest.raises(ShapeError, match="rises in some problems and falls in others"):
        model(np.stack([T, T[::-1]]), np.stack([w, w], axis=1)[..., None])


def test_voigt_tends_to_a_gaussian_and_to_a_lorentzian():
    gaussian, lorentzian = Voigt(1)(T, np.array([3.0, 0.7, 0.0])), Voigt(1)(T, np.array([3.0, 1e-3, 0.7]))
    np.testing.assert_allclose(gaussian, Gaussians(1)(T, np.array([3.0, 0.7])), atol=4 * EPS)
    scale = lorentzian.max()
    # the first correction is (sigma / gamma)^2 times a curvature of order one
    np.testing.assert_allclose(lorentzian / scale, Lorentzians(1)(T, np.array([3.0, 0.7])), atol=1e-5)


def test_powers_and_their_derivatives_are_finite_at_zero():
    model, w = Powers(2), np.array([0.5, 2.0])
    assert np.all(model(T, w)[0] == 0)
    assert np.all(model.columns(T, w)[0] == 0)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_stays_single(name):
    model, w = case(name)
    t, v = T.astype(np.float32), w.astype(np.float32)
    assert model(t, v).dtype == model.columns(t, v).dtype == np.float32
    np.testing.assert_allclose(model(t, v), model(T, w), rtol=1e-4, atol=1e-4)


def test_a_step_that_overflows_gives_infinities_without_a_warning(recwarn):
    assert np.isinf(Exponentials(1)(T, np.array([-1e-3]))).any()
    assert not recwarn.list


@pytest.mark.parametrize("name", NAMES)
def test_models_survive_pickling(name):
    model, w = case(name)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model))(T, w), model(T, w))


COUNTED = [
    Exponentials,
    Gaussians,
    Lorentzians,
    Voigt,
    DampedSinusoids,
    Powers,
    StretchedExponentials,
    SeenExponentials,
]
COUNTED += [PseudoVoigt, Pearson, Fano, Sigmoids, Hill, MichaelisMenten, InversionRecovery]


@pytest.mark.parametrize("kind", COUNTED)
@pytest.mark.parametrize("n", [0, -2, 1.5, True])
def test_a_count_below_one_is_refused_with_value_and_limit(kind, n):
    with pytest.raises(ConfigError, match=rf"n of {kind.__name__} is {n}; it must be an integer of at least 1"):
        kind(n)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Rational(-1, 1), "p of Rational is -1"),
        (lambda: Rational(1, 0), "q of Rational is 0"),
        (lambda: Polynomial(-1), "degree of Polynomial is -1"),
        (lambda: Exponentials(1, convolve=np.ones((2, 3))), r"convolve has shape \(2, 3\)"),
        (lambda: Exponentials(1, convolve=np.array([1.0, np.nan])), "finite"),
        (lambda: Sum([]), "0 models"),
    ],
)
def test_other_mistakes_of_a_caller_are_told(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


def test_t_must_fit_the_instrument_response():
    model, w = Exponentials(1, convolve=IRF), np.ones(1)
    with pytest.raises(ShapeError, match=r"t has 36 points, convolve has 37"):
        model(T[1:], w)
    with pytest.raises(ShapeError, match="equidistant"):
        model(T**2, w)
