"""A certified problem: Thurber of NIST's StRD, a rational function for the electron mobility of a semiconductor.

    y = (b1 + b2 x + b3 x^2 + b4 x^3) / (1 + b5 x + b6 x^2 + b7 x^3)

b1..b4 are linear, so only b5..b7 are searched, from NIST's first start and from none at all.  The file Thurber.dat is
at https://www.itl.nist.gov/div898/strd/nls/data/thurber.shtml.

    python examples/nist_problem.py --nist FOLDER --output figures
"""

import argparse
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import varpro

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "nist"


def read(path):
    """x, y (N,) and the table (7, 4): two starts, certified values, certified standard deviations."""
    lines = path.read_text(encoding="ascii").splitlines()
    table = np.array([line.split("=")[1].split() for line in lines if line.split()[:1] and line.split()[0][0] == "b"
                      and "=" in line], dtype=float)  # fmt: skip
    first = max(i for i, line in enumerate(lines) if line.startswith("Data:")) + 1
    y, x = np.array([line.split() for line in lines[first:] if line.split()], dtype=float).T
    return x, y, table


def draw(fit, x, y, path):
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    fine = np.linspace(x.min(), x.max(), 400)
    lower, upper = fit.confidence_band(fine)
    top.fill_between(fine, lower, upper, color="#0072b2", alpha=0.25, linewidth=0, label="95 % confidence band")
    top.plot(fine, fit.predict(fine), color="#0072b2", label="cubic / cubic")
    top.plot(x, y, "o", color="black", markersize=4, label="measured")
    top.set(ylabel="electron mobility", title="NIST StRD: Thurber")
    top.legend(frameon=False)
    bottom.axhline(0, color="0.6", linewidth=1)
    bottom.vlines(x, 0, fit.residual, color="#d55e00", linewidth=1)
    bottom.plot(x, fit.residual, "o", color="#d55e00", markersize=4)
    bottom.set(xlabel="log of the density (x)", ylabel="residual")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nist", type=Path, default=Path(os.environ.get("VARPRO_NIST", BESIDE)), metavar="DIR")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="nothing to leave out here")
    options = parser.parse_args(argv)
    x, y, table = read(options.nist / "Thurber.dat")
    start_1, _, certified, deviations = table.T

    fit = varpro.fit(varpro.models.Rational(3, 3), x, y, w0=start_1[4:])
    guessed = varpro.fit(varpro.models.Rational(3, 3), x, y)

    ours = np.concatenate([fit.linear, fit.nonlinear])
    errors = np.concatenate([fit.stderr_linear, fit.stderr_nonlinear])
    print(f"{'':>3} {'value':>17} {'certified':>17} {'digits':>6}   {'std. error':>13} {'certified':>13} {'digits':>6}")
    digits = -np.log10(np.maximum(np.abs(ours / certified - 1), 1e-11))
    error_digits = -np.log10(np.maximum(np.abs(errors / deviations - 1), 1e-11))
    for i in range(7):
        print(f"b{i + 1:<2} {ours[i]:17.10e} {certified[i]:17.10e} {digits[i]:6.1f}   "
              f"{errors[i]:13.6e} {deviations[i]:13.6e} {error_digits[i]:6.1f}")  # fmt: skip
    print(f"\nresidual sum of squares {fit.rss:.10e}, {fit.dof} degrees of freedom")
    print(f"from NIST's start 1: {fit.nfev} evaluations.  {fit.message}")
    print(f"from the model's own guess: {guessed.nfev} evaluations, rss {guessed.rss:.10e}")

    options.output.mkdir(parents=True, exist_ok=True)
    draw(fit, x, y, options.output / "nist_problem.png")
    return {
        "digits": float(digits.min()),
        "error_digits": float(error_digits.min()),
        "rss": fit.rss,
        "rss_guessed": guessed.rss,
        "success": fit.success,
    }


if __name__ == "__main__":
    main()
