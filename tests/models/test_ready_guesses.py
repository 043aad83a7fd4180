"""Starting values are within a factor of two on clean and on noisy data, and finite on meaningless data."""

import numpy as np
import pytest

from varpro.errors import ShapeError
from varpro.models.exponentials import Exponentials
from varpro.models.kinetics import Kinetics
from varpro.models.lineshapes import Fano, Pearson, PseudoVoigt
from varpro.models.peaks import Gaussians, Lorentzians, Voigt
from varpro.models.powers import Constant, Polynomial, Powers
from varpro.models.rational import Rational
from varpro.models.relaxation import InversionRecovery
from varpro.models.response import SeenExponentials
from varpro.models.saturation import Hill, MichaelisMenten, Sigmoids
from varpro.models.separable import Model
from varpro.models.sinusoids import DampedSinusoids
from varpro.models.stretched import StretchedExponentials

T = np.linspace(0.0, 10.0, 301)
LATE = T + 40.0
UNEVEN = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 240)])
LONG = np.linspace(0.0, 10.0, 5003)
IRF = np.exp(-0.5 * ((T - 0.8) / 0.2) ** 2)
CASES = {
    "one decay": (Exponentials(1), T, [1.7], [2.0]),
    "one decay on an offset": (Exponentials(1, offset=True), T, [1.7], [2.0, 5.0]),
    "two decays": (Exponentials(2), T, [0.5, 3.5], [1.0, 1.0]),
    "two decays, late": (Exponentials(2, offset=True), LATE, [0.5, 3.0], [1.0 * np.exp(80), 2.0 * np.exp(40 / 3), 1]),
    "two rates": (Exponentials(2, rates=True), T, [0.3, 2.5], [2.0, -1.0]),
    "two decays, uneven": (Exponentials(2, offset=True), UNEVEN, [0.1, 2.0], [1.0, 1.0, 0.5]),
    "two decays, long": (Exponentials(2, offset=True), LONG, [0.1, 2.0], [1.0, 1.0, 0.5]),
    "two seen decays": (Exponentials(2, convolve=IRF), T, [0.5, 3.5], [1.0, 1.0]),
    "one gaussian": (Gaussians(1), T, [6.0, 0.4], [-2.0]),
    "three gaussians": (Gaussians(3, offset=True), T, [2.0, 0.3, 4.0, 0.6, 7.5, 0.9], [1.0, 2.0, 1.5, 4.0]),
    "overlapping gaussians": (Gaussians(2), T, [4.0, 0.7, 6.0, 0.7], [1.0, 0.8]),
    "gaussians of one width": (Gaussians(2, shared_width=True), UNEVEN, [2.0, 6.0, 0.5], [1.0, 0.5]),
    "gaussians, late": (Gaussians(2), LATE, [42.0, 0.5, 46.0, 0.5], [1.0, 0.5]),
    "lorentzians": (Lorentzians(2, offset=True), T, [3.0, 0.4, 7.0, 0.3], [2.0, 1.0, -1.0]),
    "lorentzians of one width": (Lorentzians(3, shared_width=True), T, [2.0, 4.5, 8.0, 0.3], [2.0, 1.0, 1.5]),
    "voigt": (Voigt(2), T, [3.0, 0.3, 0.25, 7.0, 0.2, 0.3], [2.0, 1.5]),
    "one ringing": (DampedSinusoids(1), T, [0.3, 5.0], [1.0, 0.5]),
    "two ringings": (DampedSinusoids(2, offset=True), T, [0.2, 3.0, 0.4, 8.0], [1.0, 0.5, 0.7, 0.0, 2.0]),
    "ringing, long": (DampedSinusoids(2), LONG, [0.2, 3.0, 0.4, 90.0], [1.0, 0.5, 0.7, 0.6]),
    "rational": (Rational(1, 2), T, [0.5, 0.3], [1.0, 4.0]),
    "simplest rational": (Rational(0, 1), T, [0.8], [3.0]),
    "one power": (Powers(1), T, [0.6], [2.0]),
    "two powers": (Powers(2), T[1:], [-1.0, 2.2], [3.0, 0.5]),
    "stretched": (StretchedExponentials(1, offset=True), T, [2.0, 0.6], [2.0, 1.0]),
    "compressed": (StretchedExponentials(1), T, [3.0, 1.6], [-2.0]),
    "decay after a pulse": (SeenExponentials(1, offset=True), T, [2.0, 1.0, 0.1], [3.0, 0.2]),
    "decay after a wide pulse": (SeenExponentials(1), LATE, [1.5, 42.0, 0.4], [3.0]),
    "pseudo-voigt": (PseudoVoigt(2, offset=True), T, [3.0, 0.4, 7.0, 0.3], [2.0, 1.0, 1.0, 0.5, 0.2]),
    "pearson": (Pearson(2), T, [3.0, 0.4, 1.5, 7.0, 0.3, 3.0], [2.0, 1.0]),
    "fano": (Fano(1, offset=True), T, [4.0, 0.5], [3.0, 2.0, 1.0]),
    "sigmoid": (Sigmoids(1, offset=True), T, [4.0, 0.5], [2.0, 1.0]),
    "falling sigmoid": (Sigmoids(1), T, [4.0, -0.5], [2.0]),
    "two sigmoids": (Sigmoids(2, offset=True), T, [3.0, 0.3, 7.0, 0.4], [2.0, 1.0, 0.5]),
    "hill": (Hill(1, offset=True), T, [3.0, 2.5], [2.0, 0.5]),
    "michaelis-menten": (MichaelisMenten(1), T, [2.0], [3.0]),
    "recovery": (InversionRecovery(1), T, [2.0, 1.9], [3.0]),
    "magnitude of a recovery": (InversionRecovery(1, magnitude=True, offset=True), T, [2.0, 1.9], [3.0, 0.1]),
    "scheme": (Kinetics([("A", "B"), ("B", None)]), T, [2.5, 0.4], [1.0, 3.0]),
    "decay and peak": (Exponentials(1) + Gaussians(1), T, [2.0, 6.0, 0.5], [2.0, 1.0]),
    "peaks on a line": (Gaussians(2) + Polynomial(1), T, [3.0, 0.4, 7.0, 0.5], [2.0, 1.5, 1.0, 0.2]),
    "ringing on a constant": (DampedSinusoids(1) + Constant(), T, [0.2, 4.0], [1.0, 1.0, 3.0]),
}
NAMES = list(CASES)


def data(name: str, noise: float, channels: int = 0) -> tuple[Model, np.ndarray, np.ndarray, np.ndarray]:
    model, t, w, a = CASES[name]
    rng = np.random.default_rng(11)
    amplitude = np.array(a) if not channels else np.array(a)[:, None] * rng.uniform(0.5, 1.5, (len(a), channels))
    y = model(t, np.array(w)) @ amplitude
    return model, t, np.array(w), y + noise * np.ptp(y) * rng.standard_normal(y.shape)


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("name", NAMES)
def test_a_guess_is_within_a_factor_of_two(name, noise):
    model, t, w, y = data(name, noise)
    ratio = model.guess(t, y) / w
    assert np.all((ratio > 0.5) & (ratio < 2.0)), ratio


@pytest.mark.parametrize("name", NAMES)
def test_channels_share_a_guess(name):
    model, t, w, y = data(name, 0.01, channels=7)
    ratio = model.guess(t, y) / w
    assert np.all((ratio > 0.5) & (ratio < 2.0)), ratio


@pytest.mark.parametrize("name", ["two decays", "one ringing", "three gaussians"])
def test_rows_that_are_not_finite_are_left_out(name):
    model, t, w, y = data(name, 0.0)
    t = t.copy()
    y[17], y[101], t[33] = np.nan, np.inf, np.nan
    ratio = model.guess(t, y) / w
    assert np.all((ratio > 0.5) & (ratio < 2.0)), ratio


@pytest.mark.parametrize("model", [Exponentials(1), Voigt(1), Rational(1, 1), Powers(1), Gaussians(1) + Powers(1)])
def test_a_guess_from_arrays_of_different_lengths_is_refused_with_both(model):
    with pytest.raises(ShapeError, match=r"t has shape \(301,\), y has \(300, 2\)"):
        model.guess(T, np.ones((300, 2)))


@pytest.mark.parametrize("name", ["two decays", "peaks on a line", "rational", "two powers"])
def test_lists_are_as_good_as_arrays(name):
    model, t, _, y = data(name, 0.01)
    np.testing.assert_array_equal(model.guess(t.tolist(), y.tolist()), model.guess(t, y))


def test_complex_ringing_is_guessed_from_both_its_parts():
    t = np.linspace(0.0, 10.0, 301)
    y = np.exp((-0.3 + 5.0j) * t)
    np.testing.assert_allclose(DampedSinusoids(1).guess(t, y), [0.3, 5.0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["zero", "constant", "noise", "huge noise", "tiny noise", "nan", "alternating"])
@pytest.mark.parametrize("name", NAMES)
def test_senseless_data_give_a_finite_guess(name, kind):
    model, t, w, _ = data(name, 0.0)
    noise = np.random.default_rng(5).standard_normal(len(t))
    senseless = {
        "zero": 0 * noise,
        "constant": np.full(len(t), 3.0),
        "noise": noise,
        "huge noise": 1e150 * noise,
        "tiny noise": 1e-300 * noise,
        "nan": np.full(len(t), np.nan),
        "alternating": (-1.0) ** np.arange(len(t)),
    }
    guess = model.guess(t, senseless[kind])
    assert guess.shape == w.shape
    assert np.all(np.isfinite(guess))


@pytest.mark.parametrize("points", [1, 2, 3, 5])
@pytest.mark.parametrize("name", [name for name in NAMES if "seen" not in name])
def test_a_handful_of_points_gives_a_finite_guess(name, points):
    model, t, _, y = data(name, 0.0)
    few = slice(0, points)
    assert np.all(np.isfinite(model.guess(t[few], y[few])))


@pytest.mark.parametrize("model", [Exponentials(4), Exponentials(3, rates=True, offset=True), DampedSinusoids(3)])
def test_guessed_rates_are_positive_and_apart(model):
    y = np.random.default_rng(3).standard_normal((len(T), 2))
    w = model.guess(T, y)
    assert np.all(w > 0)
    assert len(set(w.tolist())) == len(w)
