"""A caller's mistake raises a VarproError whose message holds the numbers."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import DECAY_DERIVATIVE, decay_columns, decay_data, decays
from varpro.errors import BackendError, ConfigError, DataError, ShapeError, VarproError

T, Y = decay_data(n=20)
W0 = [2.0, 6.5]


def wrong_rows(t, w):
    return decays(t, w)[:-1]


def flat(t, w):
    return np.exp(-t / w[0])


class Changing:
    """Returns another number of columns from its third call on."""

    def __init__(self):
        self.calls = 0

    def __call__(self, t, w):
        self.calls += 1
        return decays(t, w)[:, : 3 if self.calls < 3 else 2]


def with_nan(value, at=3):
    y = Y.copy()
    y[at] = value
    return y


MISTAKES = {
    "t and y differ": ({"t": T[:-1]}, ShapeError, ["(19,)", "20"]),
    "y of three dimensions": ({"y": np.ones((20, 2, 2))}, ShapeError, ["(20, 2, 2)"]),
    "no y": ({"t": T[:0], "y": Y[:0]}, ShapeError, ["(0,)"]),
    "text": ({"y": np.full(20, "a")}, ShapeError, ["<U1"]),
    "fewer rows than parameters": ({"t": T[:4], "y": Y[:4]}, ShapeError, ["4 valid", "5 parameters"]),
    "fewer rows after masking": ({"mask": np.arange(20) < 3}, ShapeError, ["3 valid", "5 parameters"]),
    "model with too few rows": ({"model": wrong_rows}, ShapeError, ["(19, 3)", "20"]),
    "model returns a vector": ({"model": flat}, ShapeError, ["(20,)", "(N, I)"]),
    "model changes its shape": (
        {"model": Changing(), "derivative": DECAY_DERIVATIVE},
        ShapeError,
        ["(20, 2)", "(20, 3)"],
    ),
    "no start": ({"w0": None}, ConfigError, ["w0", "ready model"]),
    "start not finite": ({"w0": [2.0, np.nan]}, DataError, ["w0", "NaN"]),
    "start of two dimensions": ({"w0": [[2.0, 1.0]] * 3}, ShapeError, ["(3, 2)"]),
    "start outside": ({"bounds": (0, 5)}, ConfigError, ["w_1", "6.5", "0 to 5"]),
    "lower above upper": ({"bounds": ([1, 7], [3, 6])}, ConfigError, ["w_1", "7 to 6"]),
    "bounds of another length": ({"bounds": ([1, 2, 3], [4, 5, 6])}, ShapeError, ["2 numbers"]),
    "bounds with NaN": ({"bounds": (np.nan, 9)}, ConfigError, ["NaN"]),
    "bounds of an unknown name": ({"bounds": {"tau": (0, 1)}}, ConfigError, ["'tau'", "w_0, w_1"]),
    "fixed unknown": ({"fixed": ["tau"]}, ConfigError, ["'tau'", "w_0, w_1"]),
    "fixed out of range": ({"fixed": [2]}, ConfigError, ["2", "there are 2"]),
    "all fixed": ({"fixed": [0, 1]}, ConfigError, ["fixed or tied"]),
    "tied to itself": ({"tied": {0: 0}}, ConfigError, ["w_0"]),
    "tied in a ring": ({"tied": {0: 1, 1: 0}}, ConfigError, ["tied itself"]),
    "tied with factor 0": ({"tied": {0: (1, 0.0)}}, ConfigError, ["factor of 0"]),
    "too many names": ({"names": ["a", "b", "c"]}, ConfigError, ["3", "2"]),
    "names twice": ({"names": ["a", "a"]}, ConfigError, ["2 entries", "1 of them"]),
    "names of amplitudes": ({"linear_names": ["a"]}, ConfigError, ["1 entries", "3 columns"]),
    "weights of another length": ({"weights": np.ones(7)}, ShapeError, ["(7,)", "(20,)"]),
    "negative weights": ({"weights": -np.ones(20)}, DataError, ["-1"]),
    "infinite weights": ({"weights": np.full(20, np.inf)}, DataError, ["inf"]),
    "mask of another length": ({"mask": np.ones(7, dtype=bool)}, ShapeError, ["mask", "(7,)"]),
    "infinite data": ({"y": with_nan(np.inf)}, DataError, ["infinite"]),
    "infinite t": ({"t": np.append(T[:-1], np.inf)}, DataError, ["t holds"]),
    "unknown loss": ({"loss": "l1"}, ConfigError, ["'l1'", "huber"]),
    "unknown jacobian": ({"jacobian": "newton"}, ConfigError, ["'newton'", "kaufman"]),
    "unknown linear": ({"linear": "positive"}, ConfigError, ["'positive'", "nonnegative"]),
    "amplitude bounds of another length": ({"linear": ([0, 0], [1, 1])}, ShapeError, ["2", "3"]),
    "amplitude bounds crossed": ({"linear": ([0, 3, 0], [1, 2, 1])}, ConfigError, ["amplitude 1", "3 to 2"]),
    "negative ridge": ({"ridge": -0.5}, ConfigError, ["-0.5"]),
    "unknown ridge": ({"ridge": "aic"}, ConfigError, ["'aic'", "gcv"]),
    "ridge matrix": ({"ridge": np.eye(2)}, ShapeError, ["(2, 2)", "3"]),
    "equality of another size": ({"linear_equality": (np.ones((1, 2)), [1.0])}, ShapeError, ["(1, 2)", "(Q, 3)"]),
    "equality without solution": (
        {"linear_equality": ([[1.0, 0, 0], [1.0, 0, 0]], [1.0, 2.0])},
        ConfigError,
        ["no amplitudes", "0.5"],
    ),
    "equality and bounds": (
        {"linear_equality": ([[1.0, 0, 0]], [1.0]), "linear": "nonnegative"},
        ConfigError,
        ["exclude"],
    ),
    "unknown derivative": ({"derivative": "autodiff"}, ConfigError, ["'autodiff'"]),
    "pairs of another shape": ({"derivative": ([0, 1], decay_columns)}, ShapeError, ["(2,)", "(M, 2)"]),
    "pairs outside": ({"derivative": ([[0, 0], [3, 1]], decay_columns)}, ConfigError, ["(3, 1)", "3 columns"]),
    "columns of another shape": ({"derivative": ([[0, 0]], decay_columns)}, ShapeError, ["(20, 2)", "(20, 1)"]),
    "negative tolerance": ({"cost_tolerance": -1.0}, ConfigError, ["-1"]),
    "negative iterations": ({"max_iterations": -1}, ConfigError, ["-1"]),
    "unknown backend": ({"backend": "tpu"}, ConfigError, ["'tpu'"]),
    "term's derivative without term": ({"fixed_term_derivative": decay_columns}, ConfigError, ["fixed_term"]),
    "complex data, bounded amplitudes": ({"y": Y + 0j, "linear": "nonnegative"}, ConfigError, ["complex"]),
    "loss scale": ({"loss": "huber", "loss_scale": 0.0}, ConfigError, ["loss_scale", "0"]),
    "multistart": ({"multistart": -2}, ConfigError, ["multistart", "-2"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_numbers(name):
    changed, kind, words = MISTAKES[name]
    given = {"model": decays, "t": T, "y": Y, "w0": W0} | changed
    with pytest.raises(VarproError) as refusal:
        varpro.fit(given.pop("model"), given.pop("t"), given.pop("y"), given.pop("w0"), **given)
    assert isinstance(refusal.value, kind)
    assert isinstance(refusal.value, ValueError)
    for word in words:
        assert word in str(refusal.value), str(refusal.value)


BATCH = np.stack([Y, Y, Y])
BATCH_MISTAKES = {
    "y of one dimension": ({"y": Y}, ShapeError, ["(20,)", "(B, N)"]),
    "t of another batch": ({"t": np.stack([T, T])}, ShapeError, ["(2, 20)", "(3, 20)"]),
    "starts of another batch": ({"w0": [W0, W0]}, ShapeError, ["(2, 2)", "(3, P)"]),
    "gcv": ({"ridge": "gcv"}, ConfigError, ["gcv"]),
    "threads": ({"threads": 0}, ConfigError, ["threads is 0"]),
    "weights": ({"weights": np.ones((2, 20))}, ShapeError, ["(2, 20)"]),
    "start outside": ({"w0": [W0, W0, [2.0, 30.0]], "bounds": (0, 20)}, ConfigError, ["30"]),
}


@pytest.mark.parametrize("name", BATCH_MISTAKES)
def test_a_mistake_with_a_batch(name):
    changed, kind, words = BATCH_MISTAKES[name]
    given = {"model": decays, "t": T, "y": BATCH, "w0": W0} | changed
    with pytest.raises(kind) as refusal:
        varpro.fit_batch(given.pop("model"), given.pop("t"), given.pop("y"), given.pop("w0"), **given)
    for word in words:
        assert word in str(refusal.value), str(refusal.value)


def test_a_device_that_is_not_there():
    with pytest.raises(BackendError, match="cuda"):
        varpro.fit(decays, T, Y, W0, backend="cuda")


def test_an_error_of_the_models_own_comes_through():
    def fails(t, w):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        varpro.fit(fails, T, Y, W0)


def test_a_start_without_finite_values_is_a_status_not_an_exception():
    with np.errstate(all="ignore"):
        fit = varpro.fit(decays, T, Y, [-1e-4, 3.0], derivative=DECAY_DERIVATIVE)
    assert fit.status is varpro.Status.NONFINITE
    assert not fit.success
    assert "not finite" in fit.message
    assert isinstance(str(fit), str)


@pytest.mark.parametrize("factor", [1 + 1e-3, -1.0, 0.0])
def test_check_derivative_names_the_wrong_pair(factor):
    def wrong(t, w):
        return decay_columns(t, w) * [1.0, factor]

    assert varpro.check_derivative(decays, T, W0, DECAY_DERIVATIVE) < 1e-7
    with pytest.raises(ConfigError, match=r"column 1, parameter 1\) is wrong"):
        varpro.check_derivative(decays, T, W0, (DECAY_DERIVATIVE[0], wrong))


def test_check_derivative_names_the_missing_pair_and_the_swapped_one():
    with pytest.raises(ConfigError, match=r"column 1, parameter 1\) is missing"):
        varpro.check_derivative(decays, T, W0, ([[0, 0]], lambda t, w: decay_columns(t, w)[:, :1]))
    with pytest.raises(ConfigError, match=r"column 0, parameter 0\)"):
        varpro.check_derivative(decays, T, W0, ([[1, 1], [0, 0]], decay_columns))
    with pytest.raises(ConfigError, match="needs derivative"):
        varpro.check_derivative(decays, T, W0)


@pytest.mark.parametrize(
    "model", [varpro.models.Exponentials(2), varpro.models.Gaussians(1, offset=True), varpro.models.Lorentzians(1)]
)
def test_check_derivative_passes_the_ready_models(model):
    w = np.linspace(1.5, 4.0, len(model.parameter_names))
    assert varpro.check_derivative(model, T + 0.1, w) < 1e-6  # central differences: eps^(2/3), times condition


def test_a_parameter_that_moves_nothing_at_the_start_is_told():
    t = np.linspace(95.0, 105.0, 30)
    with pytest.raises(ConfigError, match=r"parameter 0 moves no column of the model at w0 = 0\.3"):
        varpro.fit(lambda t, w: np.stack([t, np.exp(-w[0] * t**2)], axis=-1), t, t, [0.3])
