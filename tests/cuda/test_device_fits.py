"""fit_batch on a device finds what it finds on the CPU."""

import numpy as np
import pytest

import varpro
from varpro.arrays import Device
from varpro.errors import BackendError, ConfigError, ShapeError
from varpro.result import Status

T = np.linspace(0, 12.5, 40)
MODEL = varpro.models.Exponentials(2, offset=True)
PAIRS = np.array([[0, 0], [1, 1]])


def decay(t, w):
    a, b = np.exp(-t / w[0]), np.exp(-t / w[1])
    return np.stack([a, b, a * 0 + 1], axis=-1)


def slopes(t, w):
    return np.stack([np.exp(-t / w[0]) * t / w[0] ** 2, np.exp(-t / w[1]) * t / w[1] ** 2], axis=-1)


@pytest.fixture
def y():
    rng = np.random.default_rng(2)
    w = np.stack([rng.uniform(0.8, 1.2, 9), rng.uniform(2.5, 3.5, 9)], axis=1)
    clean = np.stack([decay(T, v) @ [4.0, 2.5, 1.0] for v in w])
    return clean + 0.01 * rng.standard_normal(clean.shape)


@pytest.mark.parametrize("weighted", [False, True])
def test_ready_model(xp, y, weighted):
    weights = np.linspace(0.5, 2, 40) if weighted else None
    here = varpro.fit_batch(MODEL, T, y, [1.0, 7.0], weights=weights)
    there = varpro.fit_batch(MODEL, T, y, [1.0, 7.0], weights=weights, backend="cuda")
    assert there.success.all()
    assert np.abs(there.nonlinear / here.nonlinear - 1).max() < 1e-6
    assert np.abs(there.linear / here.linear - 1).max() < 1e-6
    assert np.abs(there.stderr_nonlinear / here.stderr_nonlinear - 1).max() < 1e-5


def test_single_and_polished(xp, y):
    here = varpro.fit_batch(MODEL, T, y.astype(np.float32), [1.0, 7.0])
    single, polished = (
        varpro.fit_batch(MODEL, T, y, [1.0, 7.0], backend="cuda", dtype=np.float32, polish=polish)
        for polish in (False, True)
    )
    assert np.abs(single.rss / here.rss - 1).max() < 1e-3
    assert np.abs(polished.nonlinear / here.nonlinear - 1).max() < 1e-5  # cost_tolerance is 1e-8


@pytest.mark.parametrize("weighted", [False, True])
def test_own_function_with_arrays_of_the_device(xp, y, weighted):
    seen = []

    def function(t, w):
        seen.append(type(t).__module__.partition(".")[0])
        return decay(t, w)

    weights = np.linspace(0.5, 2, 40) if weighted else None
    here = varpro.fit_batch(decay, T, y, [1.0, 7.0], derivative=(PAIRS, slopes), weights=weights)
    there = varpro.fit_batch(function, T, y, [1.0, 7.0], derivative=(PAIRS, slopes), weights=weights, backend="cuda")
    assert "cupy" in seen
    assert there.success.all()
    assert np.abs(there.nonlinear / here.nonlinear - 1).max() < 1e-6
    assert there.nfev.tolist() == here.nfev.tolist()


def test_a_bad_problem_touches_no_other(xp, y):
    bad = y.copy()
    bad[3, 5] = np.inf
    bad[6] = 2.0
    whole = varpro.fit_batch(MODEL, T, y, [1.0, 7.0], backend="cuda")
    with_bad = varpro.fit_batch(MODEL, T, bad, [1.0, 7.0], backend="cuda")
    others = [b for b in range(9) if b not in (3, 6)]
    assert with_bad.status[3] == Status.INVALID_DATA
    assert np.array_equal(whole.nonlinear[others], with_bad.nonlinear[others])


def test_missing_values_and_own_grids(xp, y):
    holes = y.copy()
    holes[:, 3] = np.nan
    grids = T + 0.01 * np.arange(9)[:, None]
    for data, t in ((holes, T), (y, grids)):
        here, there = (varpro.fit_batch(MODEL, t, data, [1.0, 7.0], backend=b) for b in ("cpu", "cuda"))
        assert np.abs(there.nonlinear / here.nonlinear - 1).max() < 1e-6


def test_in_parts_when_memory_is_short(xp, y, monkeypatch):
    whole = varpro.fit_batch(MODEL, T, y, [1.0, 7.0], backend="cuda")
    monkeypatch.setattr(Device, "free_bytes", property(lambda self: 3000))
    parts = []
    some = varpro.fit_batch(MODEL, T, y, [1.0, 7.0], backend="cuda", progress=parts.append)
    assert len(parts) > 1
    assert np.array_equal(whole.nonlinear, some.nonlinear)
    monkeypatch.setattr(Device, "free_bytes", property(lambda self: 30))
    with pytest.raises(BackendError, match=r"one problem of 40 points needs about"):
        varpro.fit_batch(MODEL, T, y, [1.0, 7.0], backend="cuda")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"linear": "nonnegative"}, "bounded, constrained or fixed linear part"),
        ({"ridge": np.eye(3)[:2]}, "a ridge matrix"),
        ({"model": decay}, r"without derivative=\(pairs, columns\)"),
    ],
)
def test_what_a_device_cannot_fit_is_said(xp, y, options, complaint):
    options = dict(options)
    with pytest.raises(BackendError, match=complaint):
        varpro.fit_batch(options.pop("model", MODEL), T, y, [1.0, 7.0], backend="cuda", **options)


def test_function_that_leaves_the_device(xp, y):
    def function(t, w):
        return decay(t, w) if isinstance(t, np.ndarray) else 1.0

    with pytest.raises(ShapeError, match=r"the model returned float.*CuPy array of shape"):
        varpro.fit_batch(function, T, y, [1.0, 7.0], derivative=(PAIRS, slopes), backend="cuda")


@pytest.mark.parametrize(
    ("leaves", "error", "complaint"),
    [
        (lambda t, w: decay(t.get(), w.get()), ShapeError, r"the model returned ndarray .*CuPy array of shape"),
        (lambda t, w: np.asarray(decay(t, w)), BackendError, r"the model fails with .* on the device \(Implicit conv"),
        (lambda t, w: decay(t, w) + np.zeros(3), BackendError, r"the model fails with .*backend='cpu'"),
    ],
    ids=["NumPy's result", "a copy to the host", "an array of the host in it"],
)
def test_function_that_goes_over_to_numpy(xp, y, leaves, error, complaint):
    def function(t, w):
        return decay(t, w) if isinstance(t, np.ndarray) else leaves(t, w)

    with pytest.raises(error, match=complaint):
        varpro.fit_batch(function, T, y, [1.0, 7.0], derivative=(PAIRS, slopes), backend="cuda")


ON_DEVICE = {
    "data, axis, weights, mask": lambda put: {"t": put(T), "weights": put(T + 1), "mask": put(T < 11)},
    "starts": lambda put: {"w0": put([1.0, 7.0])},
    "bounds": lambda put: {"bounds": (put([0.1, 0.1]), put([50.0, 50.0]))},
    "bounds by name": lambda put: {"bounds": {"tau_1": (put(0.1), put(50.0))}},
    "fixed": lambda put: {"fixed": {"tau_1": put(1.0)}},
    "limits of amplitudes": lambda put: {"linear": (put([0.0, 0.0, 0.0]), put([9.0, 9.0, 9.0]))},
    "equality": lambda put: {"linear_equality": (put([1.0, 1.0, 1.0]), put(7.5))},
    "ridge": lambda put: {"ridge": put(np.eye(3) * 1e-3)},
    "scale": lambda put: {"scale": put([1.0, 3.0])},
}


@pytest.mark.parametrize("case", ON_DEVICE)
def test_arrays_of_a_device_are_taken_wherever_a_fit_takes_arrays(xp, y, case):
    """And give what the same numbers on the host give."""
    answers = []
    for put in (np.asarray, xp.asarray):
        arguments = {"t": T, "w0": [1.0, 7.0]} | ON_DEVICE[case](lambda a, put=put: put(np.asarray(a)))
        t, w0 = arguments.pop("t"), arguments.pop("w0")
        answers.append(varpro.fit(MODEL, t, put(y[0]), w0, **arguments))
    assert np.array_equal(answers[0].nonlinear, answers[1].nonlinear)


def entries(put, y):
    """What every other entry of the package answers to arrays made by `put`."""
    from varpro.adapters import scipy as as_scipy
    from varpro.adapters.sklearn import VarproRegressor

    t, one, point, sigma = put(T), put(y[0]), put(np.array([1.0, 7.0])), put(np.full(40, 0.01))
    functional = varpro.functional(MODEL, t, one, point)
    regressor = VarproRegressor(MODEL, w0=point).fit(put(T[:, None]), one, sample_weight=sigma)
    many = varpro.fit_batch(MODEL, t, put(y), point)
    snapshots = put(np.stack([decay(T, [2.0, 5.0])[:, 0], decay(T, [2.0, 5.0])[:, 1]]))
    return [
        functional(point),
        functional.gradient(point),
        varpro.check_derivative(decay, t, point, (put(PAIRS), slopes)),
        varpro.dmd(snapshots, t, 2, eigenvalues=put(np.array([-0.5, -0.2]))).eigenvalues,
        many.predict(put(np.array([0, 2]))),
        varpro.fit(MODEL, t, one, point).predict(t),
        as_scipy.curve_fit(MODEL, t, one, point, sigma)[0],
        as_scipy.least_squares(MODEL, t, one, point, weights=sigma, bounds=(point - 1, point + 9)).fun,
        regressor.predict(put(T[:, None])),
    ]


def test_arrays_of_a_device_in_other_entries(xp, y):
    for there, here in zip(entries(xp.asarray, y), entries(np.asarray, y), strict=True):
        assert np.array_equal(there, here)


def test_one_fit_runs_on_the_cpu(xp, y):
    with pytest.raises(BackendError, match="fit_batch"):
        varpro.fit(MODEL, T, y[0], [1.0, 7.0], backend="cuda")
    with pytest.raises(ConfigError, match="polish"):
        varpro.fit_batch(MODEL, T, y, [1.0, 7.0], polish=True)
