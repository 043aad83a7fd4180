"""A forecast with its errors by dynamic mode decomposition
==========================================================

Forty sensors on a ring see two waves that run around it, one of which decays slowly, in noise. Their snapshots are
decomposed into modes that must not grow and come in conjugate pairs; fits of parts of the snapshots give the errors of
the modes and of a forecast.

To run it::

    python examples/dmd_forecast.py --output figures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import varpro

EIGENVALUES = np.array([-0.02 + 2.3j, -0.15 + 5.1j])
NOISE, SEEN, UNTIL = 0.3, 12.0, 24.0


# %%
# The data: the waves up to t = 12, and what they will be up to t = 24.


def waves(x, t):
    """(S, T) two travelling waves with amplitudes 1 and 0.8."""
    modes = np.stack([np.exp(2j * np.pi * x), 0.8 * np.exp(-6j * np.pi * x)], axis=1)
    return (modes @ np.exp(np.outer(EIGENVALUES, t))).real


# %%
# The figure: a sensor's data, the forecast with its band, and the truth.


def draw(result, x, t, noisy, sensor, path):
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    ahead = np.linspace(0, UNTIL, 600)
    low, high = result.confidence_band(ahead)
    axes.axvspan(SEEN, UNTIL, color="0.95")
    axes.plot(t, noisy[sensor], ".", color="0.5", markersize=4, label="data")
    axes.fill_between(ahead, low[sensor], high[sensor], color="#0072b2", alpha=0.3, linewidth=0, label="95 % band")
    axes.plot(ahead, result.predict(ahead).real[sensor], color="#0072b2", linewidth=1.2, label="decomposition")
    axes.plot(ahead, waves(x, ahead)[sensor], "--", color="black", linewidth=0.8, label="truth")
    axes.set(xlabel="time", ylabel=f"sensor at {x[sensor]:.2f}", title="forecast beyond t = 12 (shaded)")
    axes.legend(frameon=False, ncols=4, loc="lower right", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


# %%
# One call: constraints make the forecast real and keep it from growing, ``trials`` gives the errors.


def main(argv=None):
    parser = argparse.ArgumentParser(description="A forecast with its errors by dynamic mode decomposition")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="80 snapshots, 40 trials")
    options = parser.parse_args(argv)
    rng, x = np.random.default_rng(1), np.linspace(0, 1, 40)
    t = np.linspace(0, SEEN, 80 if options.quick else 120)
    noisy = waves(x, t) + NOISE * rng.standard_normal((len(x), len(t)))

    result = varpro.dmd(noisy, t, rank=4, constraints=("stable", "conjugate"), trials=40 if options.quick else 100)
    print(result)

    ahead = np.linspace(SEEN, UNTIL, 200)
    low, high = result.confidence_band(ahead)
    inside = float(np.mean((low <= waves(x, ahead)) & (waves(x, ahead) <= high)))
    print(f"share of the truth inside the 95 % band of the forecast: {inside:.3f}")
    options.output.mkdir(parents=True, exist_ok=True)
    draw(result, x, t, noisy, 10, options.output / "dmd_forecast.png")
    result.plot(options.output / "dmd_forecast_modes.png")
    return {"eigenvalues": result.eigenvalues, "stderr": result.stderr_eigenvalues, "truth": EIGENVALUES,
            "inside": inside}  # fmt: skip


# %%
# The modes and the spectrum, in ``dmd_forecast_modes.png``, are drawn by the result itself.

if __name__ == "__main__":
    main()
