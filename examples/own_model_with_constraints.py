"""A model of one's own, with constraints
======================================

A photoemission doublet on a sloping background, fitted with everything that is known about it.  Two lines of one shape,
a mixture of Gaussian and Lorentzian, are 3.67 eV apart and equally wide, so two of the five parameters are tied.  The
mixture is bounded by 0 and 1, the amplitudes of lines and background cannot be negative.  Counts have known errors, so
the standard errors are absolute; their size, sqrt(expected counts), comes from a first fit without weights.

To run it::

    python examples/own_model_with_constraints.py --output figures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import varpro

SPLITTING = 3.67
TRUTH = {"position": 84.0, "width": 0.55, "mixture": 0.35}
AMPLITUDES = {"line 7/2": 240.0, "line 5/2": 180.0, "left": 20.0, "right": 60.0}
NAMES = ("position", "position_2", "width", "width_2", "mixture")


# %%
# The model: a function of t and w that returns one column for each amplitude.  Its derivatives are found
# numerically.


def doublet(energy, w):
    """(N, 4): two lines, and a background that falls from the left end and one that rises to the right end."""
    position, position_2, width, width_2, mixture = w

    def line(center, half):
        x = (energy - center) / half
        return (1 - mixture) * np.exp(-np.log(2) * x**2) + mixture / (1 + x**2)

    ramp = (energy - energy[0]) / (energy[-1] - energy[0])
    return np.stack([line(position, width), line(position_2, width_2), 1 - ramp, ramp], axis=-1)


def simulate(n_points):
    """energy, counts (N,)"""
    energy = np.linspace(80.0, 93.0, n_points)
    position, width, mixture = TRUTH.values()
    w = [position, position + SPLITTING, width, width, mixture]
    return energy, np.random.default_rng(5).poisson(doublet(energy, w) @ list(AMPLITUDES.values())).astype(float)


# %%
# The figure: both lines above the background, the fit with its band, and residuals in units of their errors.


def draw(fit, energy, counts, path):
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    columns = doublet(energy, fit.nonlinear) * fit.linear
    background = columns[:, 2:].sum(axis=1)
    for i, colour in enumerate(("#009e73", "#cc79a7")):
        label = fit.linear_names[i]
        top.fill_between(energy, background, background + columns[:, i], color=colour, alpha=0.4, lw=0, label=label)
    top.plot(energy, background, "--", color="0.4", linewidth=1, label="background")
    lower, upper = fit.confidence_band(energy, level=0.95)
    top.plot(energy, counts, ".", color="black", markersize=4, label="counts")
    top.fill_between(energy, lower, upper, color="#0072b2", alpha=0.5, linewidth=0, label="95 % confidence band")
    top.plot(energy, fit.fitted, color="#0072b2", linewidth=1)
    top.set(ylabel="counts", ylim=0, title="doublet with tied positions and widths")
    top.legend(frameon=False)
    bottom.axhspan(-2, 2, color="0.9")
    bottom.axhline(0, color="0.6", linewidth=1)
    bottom.plot(energy, fit.residual / np.sqrt(fit.fitted), ".", color="black", markersize=4)
    bottom.set(xlabel="binding energy (eV)", ylabel="residual / error", ylim=(-4.5, 4.5))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


# %%
# What is known becomes options: names, ties, bounds, nonnegative amplitudes.


def main(argv=None):
    parser = argparse.ArgumentParser(description="A model of one's own, with constraints")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="nothing to leave out here")
    options = parser.parse_args(argv)
    energy, counts = simulate(260)

    known = {
        "names": NAMES,
        "linear_names": list(AMPLITUDES),
        "tied": {"position_2": ("position", 1.0, SPLITTING), "width_2": "width"},
        "bounds": {"width": (0.05, 5.0), "mixture": (0.0, 1.0)},
        "linear": "nonnegative",
    }
    first = varpro.fit(doublet, energy, counts, w0=[83.0, 83.0 + SPLITTING, 1.0, 1.0, 0.5], **known)
    weights = 1 / np.sqrt(first.fitted)
    fit = varpro.fit(doublet, energy, counts, first.nonlinear, weights=weights, absolute_sigma=True, **known)

    print(fit)
    print(f"\nreduced chi^2 {fit.reduced_chi2:.3f}\n")
    truths = {**TRUTH, **AMPLITUDES}
    values = dict(zip(fit.names, fit.nonlinear, strict=True)) | dict(zip(fit.linear_names, fit.linear, strict=True))
    errors = dict(zip(fit.names, fit.stderr_nonlinear, strict=True)) | dict(
        zip(fit.linear_names, fit.stderr_linear, strict=True)
    )
    for name, truth in truths.items():
        print(f"{name:<10} {values[name]:10.4f} +- {errors[name]:8.4f}   truth {truth:g}")

    options.output.mkdir(parents=True, exist_ok=True)
    draw(fit, energy, counts, options.output / "own_model_with_constraints.png")
    pulls = {name: (values[name] - truth) / errors[name] for name, truth in truths.items()}
    splitting = float(values["position_2"] - values["position"])
    return {"pulls": pulls, "splitting": splitting, "reduced_chi2": fit.reduced_chi2, "success": fit.success}


# %%
# The tie holds exactly, and the truth lies within the errors that the fit reports.

if __name__ == "__main__":
    main()
