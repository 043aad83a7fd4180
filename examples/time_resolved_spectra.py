"""Global fit of time-resolved spectra
===================================

1,000 wavelengths decay with the same three lifetimes::

    y(t, wavelength) = sum_i exp(-t / tau_i) A_i(wavelength)

Only the lifetimes are searched; the 3,000 amplitudes, the decay-associated spectra A_i, follow from them.  varpro.fit
compresses this many right-hand sides, exactly, to the few directions that the model can reach.

To run it::

    python examples/time_resolved_spectra.py --output figures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import varpro

LIFETIMES = np.array([0.8, 6.0, 75.0])
NOISE = 0.01
COLOURS = ["#0072b2", "#d55e00", "#009e73"]


# %%
# The data: three spectra of overlapping bands, delays that are equally spaced on a logarithmic axis, and noise.


def simulate(n_times, n_wavelengths):
    """t (N,) in ps, wavelengths (K,) in nm, spectra (3, K), y (N, K)."""
    t = np.geomspace(0.1, 500.0, n_times)
    wavelength = np.linspace(420.0, 720.0, n_wavelengths)

    def band(center, width):
        return np.exp(-0.5 * ((wavelength - center) / width) ** 2)

    spectra = np.stack([
        0.9 * band(640, 28) - 0.5 * band(510, 30),
        0.7 * band(575, 25) - 0.2 * band(470, 18),
        0.5 * band(520, 35) - 0.45 * band(610, 30),
    ])  # fmt: skip
    clean = np.exp(-t[:, None] / LIFETIMES) @ spectra
    return t, wavelength, spectra, clean + NOISE * np.random.default_rng(1).standard_normal(clean.shape)


# %%
# The figure: the signal, three of its traces with the fit, and the spectra with their errors beside the truth.


def draw(fit, t, wavelength, spectra, y, path):
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    largest = np.abs(y).max()
    mesh = left.pcolormesh(wavelength, t, y, cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
    left.set(yscale="log", xlabel="wavelength (nm)", ylabel="delay (ps)", title="signal")
    figure.colorbar(mesh, ax=left)
    for k, colour in zip(np.searchsorted(wavelength, [510, 575, 640]), COLOURS, strict=True):
        middle.plot(t, y[:, k], ".", color=colour, markersize=3, alpha=0.5)
        middle.plot(t, fit.fitted[:, k], color=colour, label=f"{wavelength[k]:.0f} nm")
    middle.set(xscale="log", xlabel="delay (ps)", ylabel="signal", title="traces and fit")
    middle.legend(frameon=False)
    for i, colour in enumerate(COLOURS):
        error = 2 * fit.stderr_linear[i]
        right.fill_between(wavelength, fit.linear[i] - error, fit.linear[i] + error, color=colour, alpha=0.3, lw=0)
        right.plot(wavelength, fit.linear[i], color=colour, lw=1, label=f"{fit.nonlinear[i]:.3g} ps")
        right.plot(wavelength, spectra[i], "--", color="black", linewidth=0.8, label="truth" if i == 2 else None)
    right.axhline(0, color="0.6", linewidth=0.8)
    right.set(xlabel="wavelength (nm)", ylabel="amplitude", title="decay-associated spectra")
    right.legend(frameon=False)
    for axes in (middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


# %%
# One fit with as many right-hand sides as wavelengths.  A ready model guesses its start.


def main(argv=None):
    parser = argparse.ArgumentParser(description="Global fit of time-resolved spectra")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="200 wavelengths and 150 delays")
    options = parser.parse_args(argv)
    t, wavelength, spectra, y = simulate(*((150, 200) if options.quick else (400, 1000)))

    fit = varpro.fit(varpro.models.Exponentials(3), t, y)

    order = np.argsort(fit.nonlinear)
    found, error = fit.nonlinear[order], fit.stderr_nonlinear[order]
    print(f"{y.shape[0]} delays x {y.shape[1]} wavelengths, {fit.linear.size} amplitudes, 3 lifetimes")
    for i in range(3):
        print(f"lifetime {i + 1}: {found[i]:9.4f} +- {error[i]:.4f} ps   truth {LIFETIMES[i]:g} ps")
    largest_error = np.abs(fit.linear[order] - spectra).max()
    print(f"spectra: largest error {largest_error:.3f}; noise {fit.sigma:.5f}, truth {NOISE}")
    print(f"form of the fit: {fit.form}; {fit.nfev} evaluations in {1e3 * fit.elapsed_seconds:.0f} ms")
    print(fit.message)

    options.output.mkdir(parents=True, exist_ok=True)
    draw(fit, t, wavelength, spectra, y, options.output / "time_resolved_spectra.png")
    return {
        "lifetimes": found,
        "stderr": error,
        "truth": LIFETIMES,
        "sigma": fit.sigma,
        "noise": NOISE,
        "spectra_error": float(np.sqrt(np.mean((fit.linear[order] - spectra) ** 2))),
        "form": fit.form,
    }


# %%
# The quick form, as it runs for this page, has 150 delays and 200 wavelengths.

if __name__ == "__main__":
    main()
