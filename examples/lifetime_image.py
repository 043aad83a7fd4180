"""A fluorescence-lifetime image
=============================

One decay per pixel, counted photon by photon, 65,536 fits in one call::

    counts(t) ~ Poisson(a exp(-t / tau) + b)

Dark pixels are masked out and dead ones are infinite: each pixel has a status, and no pixel stops the others.  A second
pass weights the residuals by the fit of the first, 1 / sqrt(expected counts); weights from the counts themselves would
favour the channels that are low by chance.

To run it::

    python examples/lifetime_image.py --output figures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

import varpro

LEAST_PHOTONS = 300
SHOWN = (0.5, 4.0)
STATES = {"converged": "#009e73", "not converged": "#e69f00", "too few photons": "#bdbdbd", "dead pixel": "#cc0000"}


# %%
# The data: a cell with regions of different lifetime, photon noise in every channel, and two pixels in a
# thousand that are dead.


def simulate(size, n_channels):
    """t (N,) in ns, lifetimes (size, size), counts (size, size, N)."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[-1:1:1j * size, -1:1:1j * size]  # fmt: skip
    radius = np.hypot(x / 0.9, y / 0.75)
    tau = 2.4 + 0.5 * np.sin(5 * x) * np.cos(4 * y)
    tau[np.hypot(x - 0.2, y + 0.1) < 0.3] = 1.2
    for cx, cy in ((-0.45, 0.3), (-0.4, -0.35), (0.55, 0.4), (0.1, 0.5)):
        tau[np.hypot(x - cx, y - cy) < 0.09] = 3.4
    bright = 120.0 * np.clip(1.15 - radius, 0, None) ** 0.5 * (0.8 + 0.2 * np.cos(9 * x * y))
    t = (np.arange(n_channels) + 0.5) * 12.5 / n_channels
    counts = rng.poisson(bright[..., None] * np.exp(-t / tau[..., None]) + 0.5).astype(float)
    counts[rng.random((size, size)) < 0.002] = np.inf
    return t, tau, counts


# %%
# The figure: the counts, the true lifetimes, those found, and the status of each pixel.


def draw(tau_map, status, photons, tau, path):
    figure = Figure(figsize=(9.5, 7.6), layout="constrained")
    first, second, third, fourth = figure.subplots(2, 2).ravel()
    images = [
        (first, photons, "photons", "magma", (None, None)),
        (second, tau, "true lifetime (ns)", "viridis", SHOWN),
        (third, tau_map, "fitted lifetime (ns)", "viridis", SHOWN),
    ]
    for axes, image, title, colours, (low, high) in images:
        shown = axes.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        figure.colorbar(shown, ax=axes)
        axes.set_title(title)
    colours = ListedColormap(list(STATES.values()))
    shown = fourth.imshow(status, cmap=colours, norm=BoundaryNorm(np.arange(5) - 0.5, 4), interpolation="nearest")
    figure.colorbar(shown, ax=fourth, ticks=range(4)).ax.set_yticklabels(list(STATES))
    fourth.set_title("status")
    for axes in (first, second, third, fourth):
        axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=150)


# %%
# Two calls of ``varpro.fit_batch``.  The first gives the expected counts, the second uses them as weights.  The errors
# are known then (``absolute_sigma``), so the share of pixels within one standard error can be compared with 68.3 %.


def main(argv=None):
    parser = argparse.ArgumentParser(description="A fluorescence-lifetime image")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="64 x 64 pixels")
    options = parser.parse_args(argv)
    size = 64 if options.quick else 256
    t, tau, counts = simulate(size, 64)
    pixels = counts.reshape(-1, len(t))

    model = varpro.models.Exponentials(1, offset=True)
    bright = pixels.sum(axis=1) >= LEAST_PHOTONS
    mask = np.broadcast_to(bright[:, None], pixels.shape)
    first = varpro.fit_batch(model, t, pixels, w0=[2.0], mask=mask)
    expected = np.maximum(np.nan_to_num(first.predict()[:, :, 0], nan=1.0), 0.2)
    start = np.where(first.success[:, None], np.clip(first.nonlinear, 0.1, 12.0), 2.0)
    many = varpro.fit_batch(model, t, pixels, start, mask=mask, weights=1 / np.sqrt(expected), absolute_sigma=True)

    fitted = np.isfinite(many.rss)
    error = many.nonlinear[fitted, 0] - tau.ravel()[fitted]
    pull = error / many.stderr_nonlinear[fitted, 0]
    seconds = first.elapsed_seconds + many.elapsed_seconds
    print(f"{size} x {size} pixels of {len(t)} channels:", many.counts())
    print(f"lifetime - truth: median {np.median(error):+.4f} ns, median size {np.median(np.abs(error)):.4f} ns")
    print(f"(lifetime - truth) / standard error: median {np.median(pull):+.3f}, truth 0; "
          f"share within 1: {np.mean(np.abs(pull) < 1):.3f}, truth 0.683")  # fmt: skip
    print(f"both passes: {seconds:.3f} s, {1e6 * seconds / fitted.sum():.1f} s per million fitted pixels")

    states = np.where(many.success, 0, 1)
    states[many.status == varpro.Status.TOO_FEW_POINTS] = 2
    states[many.status == varpro.Status.INVALID_DATA] = 3
    options.output.mkdir(parents=True, exist_ok=True)
    shape, photons = (size, size), np.where(np.isfinite(pixels), pixels, np.nan).sum(axis=1)
    draw(many.nonlinear.reshape(shape), states.reshape(shape), photons.reshape(shape), tau,
         options.output / "lifetime_image.png")  # fmt: skip
    return {
        "counts": many.counts(),
        "median_error": float(np.median(np.abs(error))),
        "bias": float(np.median(error)),
        "within_one": float(np.mean(np.abs(pull) < 1)),
        "converged": float(many.success[fitted].mean()),
    }


# %%
# The quick form, as it runs for this page, has 64 x 64 pixels.

if __name__ == "__main__":
    main()
