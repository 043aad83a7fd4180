"""Trials of an optimised DMD on parts of the snapshots, forecast bands, delays and the plot."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError

T = np.linspace(0, 6, 80)
EIGENVALUES = np.array([-0.1 + 4j, -0.1 - 4j, -0.3 + 1.5j, -0.3 - 1.5j])
LATER = np.linspace(0, 9, 37)
RNG = np.random.default_rng(7)
MODES = RNG.standard_normal((15, 4)) + 1j * RNG.standard_normal((15, 4))


def noisy(seed, sigma=0.2, t=T):
    rng = np.random.default_rng(seed)
    clean = MODES @ np.exp(np.outer(EIGENVALUES, t))
    return clean + sigma * (rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape))


def in_order(found):
    return [int(np.argmin(np.abs(found.eigenvalues - v))) for v in EIGENVALUES]


@pytest.mark.parametrize("trial_size", [0.5, 0.7])
def test_errors_are_the_spread_over_repeated_measurements(trial_size):
    """Standard errors of 100 trials against the standard deviation of 60 decompositions of new noise."""
    single = [varpro.dmd(noisy(seed), T, 4) for seed in range(60)]
    repeats = {
        "eigenvalues": np.array([one.eigenvalues[in_order(one)] for one in single]),
        "amplitudes": np.array([one.amplitudes[in_order(one)] for one in single]) + 0j,
        "modes": np.array([one.modes[:, in_order(one)] for one in single]),
        "forecast": np.array([one.predict(LATER) for one in single]),
    }
    ratios = {name: [] for name in repeats}
    for seed in range(4):
        found = varpro.dmd(noisy(100 + seed), T, 4, trials=100, trial_size=trial_size)
        place = in_order(found)
        low, high = found.confidence_band(LATER, level=0.6826894921370859)
        told = {
            "eigenvalues": found.stderr_eigenvalues[place],
            "amplitudes": found.stderr_amplitudes[place],
            "modes": found.stderr_modes[:, place],
            "forecast": (high - low) / 2,
        }
        for name, values in repeats.items():
            ratios[name].append(np.sqrt(np.mean(told[name].real ** 2) / np.mean(values.real.var(axis=0, ddof=1))))
    for name, ratio in ratios.items():
        assert np.mean(ratio) == pytest.approx(1.0, abs=0.2), name


def test_without_trials_the_errors_of_eigenvalues_are_those_of_the_fit():
    found = varpro.dmd(noisy(0), T, 4)
    near = np.abs(found.fit.nonlinear[None] - found.eigenvalues[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(found.stderr_eigenvalues, found.fit.stderr_nonlinear[near])
    assert found.trials is None
    for ask in (lambda: found.stderr_modes, lambda: found.stderr_amplitudes, lambda: found.confidence_band(T)):
        with pytest.raises(ConfigError, match="call dmd with trials=100"):
            ask()


def test_trials_do_not_change_the_decomposition_and_repeat_themselves():
    plain, one, two = (varpro.dmd(noisy(0), T, 4, trials=n, seed=3) for n in (0, 20, 20))
    np.testing.assert_array_equal(plain.eigenvalues, one.eigenvalues)
    np.testing.assert_array_equal(one.trials.eigenvalues, two.trials.eigenvalues)
    assert len(one.trials) == 20
    assert one.trials.failed == 0


def test_real_snapshots_have_a_real_band_that_holds_the_truth():
    rng = np.random.default_rng(1)
    ahead = (MODES @ np.exp(np.outer(EIGENVALUES, LATER))).real
    clean = (MODES @ np.exp(np.outer(EIGENVALUES, T))).real
    found = varpro.dmd(clean + 0.2 * rng.standard_normal(clean.shape), T, 4, trials=100, project=False)
    low, high = found.confidence_band(LATER)
    assert low.dtype == np.float64
    inside = (low <= ahead) & (ahead <= high)
    assert 0.85 < inside.mean() <= 1.0


def test_constraints_hold_in_every_trial():
    found = varpro.dmd(noisy(0), T, 4, trials=10, constraints=("stable", "conjugate"))
    values = np.sort_complex(found.trials.eigenvalues)
    assert (values.real <= 0).all()
    np.testing.assert_array_equal(values[:, ::2], values[:, 1::2].conj())


@pytest.mark.parametrize("project", [True, False])
def test_delays_find_more_modes_than_there_are_points(project):
    t = np.linspace(2, 14, 200)
    signal = 1.5 * np.exp(-0.1 * t) * np.cos(2 * t) + 0.5 * np.sin(5 * t)
    found = varpro.dmd(signal[None], t, 4, delays=40, project=project)
    by_frequency = found.eigenvalues[np.argsort(found.eigenvalues.imag)]
    np.testing.assert_allclose(by_frequency, [-5j, -0.1 - 2j, -0.1 + 2j, 5j], atol=1e-8)
    assert found.modes.shape == (1, 4)
    later = np.linspace(14, 20, 50)
    ahead = 1.5 * np.exp(-0.1 * later) * np.cos(2 * later) + 0.5 * np.sin(5 * later)
    np.testing.assert_allclose(found.predict(later)[0], ahead, atol=1e-7)
    shuffled = np.random.default_rng(0).permutation(200)
    again = varpro.dmd(signal[None, shuffled], t[shuffled], 4, delays=40, project=project)
    np.testing.assert_array_equal(again.eigenvalues, found.eigenvalues)


@pytest.mark.parametrize("shape", [None, (3, 5)])
def test_the_plot_draws_each_pair_once(shape, tmp_path):
    pytest.importorskip("matplotlib")
    clean = (MODES @ np.exp(np.outer(EIGENVALUES, T))).real
    found = varpro.dmd(clean, T, 4, trials=5, constraints="conjugate")
    figure = found.plot(tmp_path / "dmd.png", shape=shape)
    assert (tmp_path / "dmd.png").read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 1 + 2 * 2
    with pytest.raises(ConfigError, match=r"shape \(4, 4\) has 16 pixels; the snapshots have 15"):
        found.plot(shape=(4, 4))


def test_results_say_what_they_are():
    found = varpro.dmd(noisy(0), T, 4, trials=10)
    assert "angular frequency" in str(found)
    assert "errors from 10 trials" in str(found)
    assert repr(found) == "<DmdResult: 4 modes of 15 points, cost_tolerance>"
    assert "<table>" in found._repr_html_()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 1}, "trials is 1; give 2 or more"),
        ({"trials": 10, "trial_size": 1.5}, "trial_size is 1.5, 0 of 80 snapshots; rank 4 needs 5 to 79"),
        ({"trials": 10, "trial_size": 0.05}, "trial_size is 0.05, 4 of 80 snapshots; rank 4 needs 5 to 79"),
        ({"delays": 0}, "delays is 0; 80 snapshots allow 1 to 79"),
        ({"delays": 2, "t": np.sort(RNG.uniform(0, 6, 80))}, "delays need evenly spaced times"),
    ],
)
def test_mistakes_are_told_in_one_line(options, said):
    with pytest.raises(ConfigError, match=said) as error:
        varpro.dmd(noisy(0), **{"t": T, "rank": 4, **options})
    assert "\n" not in str(error.value)
