"""A scheme of reactions beside pyglotaran on its own example: three species in sequence behind a Gaussian response.

    python -m bench.scheme_peers [--repeats 5]

The data are pyglotaran's simulation (2,100 times, 72 wavelengths); both start from its starting values.  Rates,
response and species-associated spectra are compared before anything is timed; the last lines are ratios of times.
"""

import argparse

import numpy as np
from glotaran.optimization.optimize import optimize
from glotaran.testing.simulated_data.sequential_spectral_decay import SCHEME

import varpro
from bench.interval_peers import timed
from varpro import models
from varpro.arrays import Array

STEPS = [("species_1", "species_2"), ("species_2", "species_3"), ("species_3", None)]
LABELS = ["rates.species_1", "rates.species_2", "rates.species_3", "irf.center", "irf.width"]
CLOSE = 1e-4
"""Largest difference of rates, relative to themselves, and of spectra, relative to the largest value."""


def species_spectra(fit: varpro.FitResult) -> Array:
    """(3, K) spectra of the species from those of the decays: C S = E D, and C = E M with M from the scheme."""
    rates = np.sort(1.0 / fit.nonlinear[:3])[::-1]
    t = np.linspace(0.0, 3.0 / rates[-1], 50)
    concentrations = models.Kinetics(STEPS)(t, rates)
    decays = models.Exponentials(3, rates=True)(t, rates)
    mixing = np.linalg.lstsq(decays, concentrations, rcond=None)[0]
    return np.linalg.solve(mixing, fit.linear[np.argsort(fit.nonlinear[:3])])


def main() -> None:
    """Compare, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    data = SCHEME.data["dataset_1"]
    t, y = data.time.values, data.data.values
    start = [SCHEME.parameters.get(label).value for label in LABELS]
    w0 = np.array([*(1.0 / np.array(start[:3])), *start[3:]])
    model = models.SeenExponentials(3)

    theirs = optimize(SCHEME, verbose=False, raise_exception=True)
    found = theirs.optimized_parameters
    ours = varpro.fit(model, t, y, w0)
    rates = np.sort([found.get(label).value for label in LABELS[:3]])[::-1]
    values = np.array([*rates, *(found.get(label).value for label in LABELS[3:])])
    mine = np.array([*np.sort(1.0 / ours.nonlinear[:3])[::-1], *ours.nonlinear[3:]])
    for label, one, other in zip(LABELS, mine, values, strict=True):
        print(f"{label}: {one:.8f}, pyglotaran {other:.8f}, apart {abs(one / other - 1):.1e}")
    np.testing.assert_allclose(mine, values, rtol=CLOSE)
    spectra = theirs.data["dataset_1"].species_associated_spectra.sel(
        species=["species_1", "species_2", "species_3"]
    ).values.T  # fmt: skip
    off = np.abs(species_spectra(ours) - spectra).max() / np.abs(spectra).max()
    print(f"species-associated spectra: apart {off:.1e} of the largest value")
    assert off < CLOSE
    residual = float(np.sum(theirs.data["dataset_1"].residual.values ** 2))
    print(f"sum of squares: {ours.rss:.10g}, pyglotaran {residual:.10g}")
    assert ours.rss <= residual * (1 + 1e-8)

    peer = timed(lambda: optimize(SCHEME, verbose=False), repeats)
    ratio = timed(lambda: varpro.fit(model, t, y, w0), repeats) / peer
    print(f"its starting values: {ratio:.4f} of pyglotaran's time, {peer:.3g} s")
    ratio = timed(lambda: varpro.fit(model, t, y), repeats) / peer
    print(f"starting values of its own: {ratio:.4f} of pyglotaran's time")


if __name__ == "__main__":
    main()
