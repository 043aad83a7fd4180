"""Optimised DMD at uneven times
=============================

Noisy travelling waves, sampled at uneven times::

    u(x, t) = Re sum_k  mode_k(x) exp(lambda_k t)

Two wave packets, one decaying, one growing.  Ordinary DMD needs equal steps and is biased by the noise; here all times
are fitted at once.

To run it::

    python examples/optimised_dmd.py --output figures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import varpro

EIGENVALUES = np.array([-0.12 + 2.1j, -0.12 - 2.1j, 0.05 + 5.3j, 0.05 - 5.3j])
NOISE = 0.2


# %%
# The data: two packets in noise that is as large as a fifth of the packets' height.


def simulate(n_points, n_times):
    """x (S,), t (T,), the packets (S, 2), clean (S, T), noisy (S, T)."""
    rng = np.random.default_rng(3)
    x = np.linspace(-10, 10, n_points)
    t = np.sort(rng.uniform(0, 12, n_times))
    packets = np.stack([
        np.exp(-(((x + 2) / 4.5) ** 2) + 1.3j * x),
        0.6 * np.exp(-(((x - 3) / 3.0) ** 2) - 2.4j * x),
    ], axis=1)  # fmt: skip
    clean = (packets @ np.exp(np.outer(EIGENVALUES[[0, 2]], t))).real
    return x, t, packets, clean, clean + NOISE * rng.standard_normal(clean.shape)


def matched(found):
    """For each true eigenvalue the nearest one found."""
    return np.abs(found[None, :] - EIGENVALUES[:, None]).argmin(axis=1)


# %%
# The figure: data, the decomposition at even times, eigenvalues and modes beside the truth.


def draw(result, x, t, packets, noisy, path):
    figure = Figure(figsize=(10.5, 7), layout="constrained")
    (data, fitted), (plane, modes) = figure.subplots(2, 2)
    largest = np.abs(noisy).max()
    even = np.linspace(t[0], t[-1], 400)
    panels = (
        (data, t, noisy, "data"),
        (fitted, even, result.predict(even).real, "optimised DMD, rank 4, at even times"),
    )
    for axes, times, values, title in panels:
        mesh = axes.pcolormesh(times, x, values, cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
        axes.set(xlabel="time", ylabel="x", title=title)
    figure.colorbar(mesh, ax=[data, fitted], label="u")
    plane.axvline(0, color="0.7", linewidth=0.8)
    plane.axhline(0, color="0.7", linewidth=0.8)
    plane.plot(EIGENVALUES.real, EIGENVALUES.imag, "o", mfc="none", mec="black", markersize=12, label="truth")
    plane.plot(result.eigenvalues.real, result.eigenvalues.imag, "x", color="#d55e00", markersize=8, label="found")
    plane.set(xlabel="growth rate (real part)", ylabel="angular frequency (imaginary part)", title="eigenvalues")
    plane.set(xlim=(-0.3, 0.3), ylim=(-7, 7))
    plane.legend(frameon=False, loc="upper left")
    for k, (index, colour) in enumerate(zip(matched(result.eigenvalues)[[0, 2]], ("#0072b2", "#d55e00"), strict=True)):
        mode = 2 * result.modes[:, index] * result.amplitudes[index]
        label = f"{result.eigenvalues[index]:.3f}".replace("j", "i")
        modes.plot(x, mode.real + 1.5 * k, color=colour)
        modes.plot(x, packets[:, k].real + 1.5 * k, "--", color="black", linewidth=0.9)
        modes.text((10, -10)[k], 1.5 * k + 0.2, label, color=colour, ha=("right", "left")[k])
    modes.set(xlabel="x", ylabel="real part (second one raised by 1.5)", title="modes; dashed: truth")
    for axes in (plane, modes):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


# %%
# One call of ``varpro.dmd``.  The result holds the whole fit, so the eigenvalues have standard errors.


def main(argv=None):
    parser = argparse.ArgumentParser(description="Optimised DMD at uneven times")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="150 points, 180 times")
    options = parser.parse_args(argv)
    x, t, packets, clean, noisy = simulate(*((150, 180) if options.quick else (300, 250)))

    result = varpro.dmd(noisy, t, rank=4)

    order = matched(result.eigenvalues)
    found = result.eigenvalues[order]
    error = result.fit.stderr_nonlinear[[np.abs(result.fit.nonlinear - value).argmin() for value in found]]
    print(f"{len(x)} points x {len(t)} uneven times, noise {NOISE}")
    print(f"{'eigenvalue':>22}   {'standard errors':>18}   {'truth':>14}")
    for value, deviation, truth in zip(found, error, EIGENVALUES, strict=True):
        print(f"{value:22.5f}   {deviation.real:8.5f} {deviation.imag:8.5f}    {truth:14.2f}")
    rebuilt = np.linalg.norm(result.predict(t).real - clean) / np.linalg.norm(clean)
    print(f"relative error against the clean waves: data {np.linalg.norm(noisy - clean) / np.linalg.norm(clean):.3f}, "
          f"decomposition {rebuilt:.3f}")  # fmt: skip
    print(f"{result.fit.nfev} evaluations in {1e3 * result.fit.elapsed_seconds:.1f} ms.  {result.fit.message}")

    options.output.mkdir(parents=True, exist_ok=True)
    draw(result, x, t, packets, noisy, options.output / "optimised_dmd.png")
    return {"eigenvalues": found, "truth": EIGENVALUES, "rebuilt": float(rebuilt), "success": result.fit.success}


# %%
# No start was given: the starting eigenvalues come from the data.

if __name__ == "__main__":
    main()
