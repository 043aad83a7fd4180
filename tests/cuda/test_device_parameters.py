"""fit_batch on a device with bounds, fixed and tied parameters, and complex numbers finds what it finds on the CPU."""

import numpy as np
import pytest

import varpro
from tests.cuda.test_device_fits import MODEL, PAIRS, T, decay, slopes
from varpro.errors import BackendError
from varpro.models import DampedSinusoids, Exponentials, Gaussians

B = 9
OWN = {"derivative": (PAIRS, slopes)}


def noisy(clean, seed=3):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(clean.shape)
    if np.iscomplexobj(clean):
        noise = noise + 1j * rng.standard_normal(clean.shape)
    return clean + 0.01 * noise


@pytest.fixture
def y():
    rng = np.random.default_rng(2)
    w = np.stack([rng.uniform(0.8, 1.2, B), rng.uniform(2.5, 3.5, B)], axis=1)
    return noisy(np.stack([decay(T, v) @ [4.0, 2.5, 1.0] for v in w]))


@pytest.fixture
def complex_y(y):
    """Amplitudes with phases of their own."""
    return noisy(y * np.exp(0.3j) + 0.5j)


def left_to_the_cpu(small, u0, problems, *_):
    raise AssertionError(f"problems {problems} were not searched on the device")


def on_device(model, y, w0, **options):
    """The fits on the device, all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("varpro.fitting.run.search_compiled", left_to_the_cpu)
        found = varpro.fit_batch(model, T, y, w0, backend="cuda", **options)
    assert found.success.all()
    return found


def both(model, y, w0, **options):
    """The fits on the CPU and on the device, which take the same number of trials."""
    here, there = varpro.fit_batch(model, T, y, w0, **options), on_device(model, y, w0, **options)
    np.testing.assert_array_equal(there.nfev, here.nfev)
    return here, there


def assert_same(there, here, tolerance=1e-6):
    """To a hundredth of what the tolerance on the cost, 1e-8, leaves open."""
    assert np.abs(there.nonlinear / here.nonlinear - 1).max() < tolerance
    assert np.abs(there.linear / here.linear - 1).max() < tolerance
    assert np.abs(there.rss / here.rss - 1).max() < 1e-8


ALTERED = {
    "bounds that hold some": {"bounds": {"w_0": (0.5, 1.0), "w_1": (None, 3.2)}},
    "fixed": {"fixed": {"w_0": 1.0}},
    "fixed, each its own": {"fixed": {"w_0": np.linspace(0.9, 1.1, B)}},
    "tied": {"tied": {"w_1": ("w_0", 3.0, 0.1)}},
    "tied and bounded": {"tied": {"w_1": ("w_0", 3.0)}, "bounds": {"w_1": (2.0, 2.9)}},
    "an expression": {"tied": {"w_1": "w_0 * w_0 + 2"}},
}


def named(options):
    """The same options by the ready model's names."""
    names = {"w_0": "tau_1", "w_1": "tau_2"}

    def renamed(value):
        if isinstance(value, dict):
            return {names.get(key, key): renamed(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return tuple(map(renamed, value))
        if isinstance(value, str):
            return value.replace("w_0", "tau_1").replace("w_1", "tau_2")
        return value

    return renamed(options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", ALTERED)
@pytest.mark.parametrize("kind", ["ready", "own"])
def test_altered_parameters(xp, y, case, kind, weighted):
    options = dict(ALTERED[case])
    if weighted:
        options["weights"] = np.linspace(0.5, 2, 40)
        options["mask"] = np.arange(40) != 7
    start = [0.95, 2.85] if "bounded" in case else [0.9, 3.0]
    if kind == "ready":
        here, there = both(MODEL, y, start, **named(options))
    else:
        here, there = both(decay, y, start, **OWN, **options)
    assert_same(there, here)
    if "bounds" in options:
        held = there.nonlinear == here.nonlinear
        assert held.any()
        assert not held.all()


@pytest.mark.parametrize("polish", [False, True])
def test_altered_parameters_in_single_precision(xp, y, polish):
    options = {"tied": {"tau_2": ("tau_1", 3.0)}, "bounds": {"tau_1": (0.5, 1.02)}, "dtype": np.float32}
    here = varpro.fit_batch(MODEL, T, y, [0.9, 3.0], **options)
    there = on_device(MODEL, y, [0.9, 3.0], polish=polish, **options)
    assert np.abs(there.rss / here.rss - 1).max() < (2e-8 if polish else 1e-3)
    assert (there.nonlinear[:, 0] <= 1.02).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["ready", "own", "own, bounded and tied"])
def test_complex_data(xp, complex_y, kind, weighted):
    options = {"weights": np.linspace(0.5, 2, 40), "mask": np.arange(40) != 7} if weighted else {}
    if kind == "ready":
        here, there = both(MODEL, complex_y, [0.9, 3.0], **options)
    elif kind == "own":
        here, there = both(decay, complex_y, [0.9, 3.0], **OWN, **options)
    else:
        options |= {"bounds": {"w_0": (0.5, 1.0)}, "tied": {"w_1": ("w_0", 3.0, 0.1)}}
        here, there = both(decay, complex_y, [0.9, 2.8], **OWN, **options)
    assert np.iscomplexobj(there.linear)
    assert_same(there, here)


@pytest.mark.parametrize("fixed", [None, {"k_1.imag": 2.0}])
def test_complex_parameters(xp, fixed):
    """Two ringing signals, exp(-(g + i omega) t)."""
    rates = np.array([0.3 + 2.0j, 0.1 + 0.7j])
    model, rng = Exponentials(2, rates=True), np.random.default_rng(1)
    w = rates * rng.uniform(0.97, 1.03, (B, 2)) if fixed is None else rates * np.linspace(0.9, 1.1, B)[:, None].real
    if fixed is not None:
        w[:, 0] = w[:, 0].real + 2.0j
    y = noisy(np.stack([model(T, v) @ [1.0 + 0.5j, 2.0] for v in w]))
    here, there = both(model, y, rates * 1.02 if fixed is None else rates, fixed=fixed)
    assert np.iscomplexobj(there.nonlinear)
    assert_same(there, here)
    if fixed is not None:
        np.testing.assert_array_equal(there.nonlinear[:, 0].imag, 2.0)


@pytest.mark.parametrize(
    ("model", "w"),
    [(DampedSinusoids(1, offset=True), [0.2, 1.5]), (DampedSinusoids(1) + Gaussians(1), [0.2, 1.5, 6.0, 1.0])],
)
def test_a_ready_model_without_compiled_columns_is_called_on_the_device(xp, model, w):
    rng = np.random.default_rng(4)
    true = np.array(w) * rng.uniform(0.97, 1.03, (B, len(w)))
    phi = np.stack([model(T, v) for v in true])
    y = noisy(phi @ np.linspace(1.0, 2.0, phi.shape[2]))
    assert_same(*both(model, y, w)[::-1])


def test_a_ready_model_that_cannot_be_called_there_says_so(xp, y):
    with pytest.raises(BackendError, match=r"the model fails with .*backend='cpu'"):
        varpro.fit_batch(
            Exponentials(2, convolve=np.exp(-T)), T, y, [0.9, 3.0], backend="cuda",
        )  # fmt: skip
