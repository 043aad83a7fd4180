"""The starting eigenvalues of the optimised DMD are good enough at uneven times, with noise, and in any order."""

import numpy as np
import pytest

import varpro

EIGENVALUES = np.array([-0.12 + 2.1j, -0.12 - 2.1j, 0.05 + 5.3j, 0.05 - 5.3j])


def waves(seed, n_points, n_times, noise):
    """t (T,) uneven, X (S, T): two travelling wave packets."""
    rng = np.random.default_rng(seed)
    x, t = np.linspace(-10, 10, n_points), np.sort(rng.uniform(0, 12, n_times))
    packets = np.exp(-(((x + 2) / 4.5) ** 2) + 1.3j * x), 0.6 * np.exp(-(((x - 3) / 3.0) ** 2) - 2.4j * x)
    clean = (np.stack(packets, axis=1) @ np.exp(np.outer(EIGENVALUES[[0, 2]], t))).real
    return t, clean + noise * rng.standard_normal(clean.shape)


def largest_error(result):
    return np.abs(result.eigenvalues[None] - EIGENVALUES[:, None]).min(axis=1).max()


@pytest.mark.parametrize(("n_points", "n_times", "noise"), [(100, 120, 0.2), (300, 250, 0.2), (60, 60, 0.0)])
def test_noise_in_short_steps_does_not_spoil_the_start(n_points, n_times, noise):
    errors = [largest_error(varpro.dmd(X, t, 4)) for t, X in (waves(s, n_points, n_times, noise) for s in range(10))]
    assert np.median(errors) < 0.02
    assert sum(error < 0.1 for error in errors) >= 9


def test_repeated_and_unsorted_times_are_taken():
    t, X = waves(0, 60, 80, 0.05)
    order = np.random.default_rng(0).permutation(np.append(np.arange(80), [5, 6]))
    assert largest_error(varpro.dmd(X[:, order], t[order], 4)) < 0.05
