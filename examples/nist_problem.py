"""A certified problem of NIST
===========================

Thurber of NIST's StRD, a rational function for the electron mobility of a semiconductor::

    y = (b1 + b2 x + b3 x^2 + b4 x^3) / (1 + b5 x + b6 x^2 + b7 x^3)

b1..b4 are linear, so only b5..b7 are searched, once from NIST's first start and once without a start.  The numbers are
those of https://www.itl.nist.gov/div898/strd/nls/data/thurber.shtml, by the United States government, in the public
domain.

To run it::

    python examples/nist_problem.py --output figures
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import varpro

DENSITY = [
    -3.067, -2.981, -2.921, -2.912, -2.84, -2.797, -2.702, -2.699, -2.633, -2.481, -2.363, -2.322, -1.501, -1.46,
    -1.274, -1.212, -1.1, -1.046, -0.915, -0.714, -0.566, -0.545, -0.4, -0.309, -0.109, -0.103, 0.01, 0.119, 0.377,
    0.79, 0.963, 1.006, 1.115, 1.572, 1.841, 2.047, 2.2,
]  # fmt: skip
MOBILITY = [
    80.574, 84.248, 87.264, 87.195, 89.076, 89.608, 89.868, 90.101, 92.405, 95.854, 100.696, 101.06, 401.672, 390.724,
    567.534, 635.316, 733.054, 759.087, 894.206, 990.785, 1090.109, 1080.914, 1122.643, 1178.351, 1260.531, 1273.514,
    1288.339, 1327.543, 1353.863, 1414.509, 1425.208, 1421.384, 1442.962, 1464.35, 1468.705, 1447.894, 1457.628,
]  # fmt: skip
CERTIFIED = [  # of b1..b7: start 1, start 2, certified value, certified standard deviation
    [1000.0, 1300.0, 1288.13968, 4.6647963344],
    [1000.0, 1500.0, 1491.0792535, 39.571156086],
    [400.0, 500.0, 583.23836877, 28.698696102],
    [40.0, 75.0, 75.416644291, 5.567537027],
    [0.7, 1.0, 0.96629502864, 0.031333340687],
    [0.3, 0.4, 0.39797285797, 0.014984928198],
    [0.03, 0.05, 0.049727297349, 0.0065842344623],
]


# %%
# The figure: data, fit with its confidence band, and residuals.


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


# %%
# The fit, twice: from NIST's first start, and from the guess that the model makes from the data.  Values and standard
# errors are compared with the certified ones by the number of digits on which they agree.


def main(argv=None):
    parser = argparse.ArgumentParser(description="A certified problem of NIST")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="nothing to leave out here")
    options = parser.parse_args(argv)
    x, y = np.array(DENSITY), np.array(MOBILITY)
    start_1, _, certified, deviations = np.array(CERTIFIED).T

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


# %%
# The standard errors come from the full Jacobian, amplitudes included, and agree with the certified ones, too.

if __name__ == "__main__":
    main()
