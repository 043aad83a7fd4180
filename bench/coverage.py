"""Do intervals of 95 % hold the true value in 95 % of data sets?  Monte Carlo, a case for each kind of fit.

    python bench/coverage.py [--count N] [--seed S] [--case NAME] [--json FILE]

value +- t stderr with Student's t for the fit's degrees of freedom (the normal quantile where sigma is known).  For
each parameter and amplitude, and for each kind pooled: the share of data sets whose interval holds the truth, with
Wilson's interval of the share itself (J. Am. Stat. Assoc. 22 (1927) 209-212).  Ends with 1 where a share is outside 93
to 97 %, or more than 1 % of the fits do not converge.  An interval that is not given (NaN: on a bound) is not counted.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

import varpro
from varpro import models
from varpro.distributed.threads import blas_threads

Array = np.ndarray
LIMITS = (0.93, 0.97)
CONVERGED = 0.99
NOISE = 0.01
T = np.linspace(0.0, 12.0, 97)
TAU, A = np.array([1.0, 4.0]), np.array([3.0, 2.0, 0.5])


@dataclass
class Trial:
    """Estimates of B data sets with their errors; complex numbers count as two."""

    result: Any
    nonlinear: Array
    """(P,) or (B, P) true values"""
    linear: Array
    """(I, K) or (B, I, K)"""
    known: bool = False
    """sigma is known"""


@dataclass(frozen=True)
class Share:
    """Of intervals that hold the truth."""

    name: str
    share: float
    low: float
    high: float
    count: int

    @property
    def good(self) -> bool:
        return LIMITS[0] <= self.share <= LIMITS[1]


CASES: dict[str, Callable[[np.random.Generator, int], Trial]] = {}


def case(function: Callable[[np.random.Generator, int], Trial]) -> Callable[[np.random.Generator, int], Trial]:
    """Register a case under the name of its function."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


def decays(t: Any, w: Any) -> Array:
    """Two decays and an offset."""
    return np.stack(np.broadcast_arrays(np.exp(-t / w[0]), np.exp(-t / w[1]), np.ones_like(t)), axis=-1)


def clean(w: Array = TAU, a: Array = A) -> Array:
    return decays(T, w) @ a


def noisy(rng: np.random.Generator, signal: Array, count: int, noise: Any = NOISE) -> Array:
    return signal + noise * rng.standard_normal((count, *signal.shape))


class OneByOne:
    """The results of varpro.fit, one data set after another, as arrays."""

    def __init__(self, fits: list[Any]) -> None:
        self.nonlinear, self.stderr_nonlinear, self.dof, self.success = (
            np.array([getattr(fit, name) for fit in fits])
            for name in ("nonlinear", "stderr_nonlinear", "dof", "success")
        )
        self.linear, self.stderr_linear = (
            np.array([getattr(fit, name) for fit in fits])[..., None] for name in ("linear", "stderr_linear")
        )


@case
def plain(rng: np.random.Generator, count: int) -> Trial:
    y = noisy(rng, clean(), count)
    return Trial(OneByOne([varpro.fit(decays, T, row, TAU * 1.1) for row in y]), TAU, A[:, None])


@case
def batched(rng: np.random.Generator, count: int) -> Trial:
    return Trial(varpro.fit_batch(decays, T, noisy(rng, clean(), count), TAU * 1.1), TAU, A[:, None])


@case
def ready_model(rng: np.random.Generator, count: int) -> Trial:
    """In seconds and amperes: picoseconds and nanoamperes."""
    model, unit = models.Gaussians(1, offset=True), 1e-12
    w, a = np.array([5.0, 1.3]), np.array([2.0, 1.0])
    y = noisy(rng, model(T, w) @ a, count, 0.05)
    many = varpro.fit_batch(model, T * unit, y * 1e-9, w * unit * 1.1)
    return Trial(many, w * unit, a[:, None] * 1e-9)


@case
def weighted(rng: np.random.Generator, count: int) -> Trial:
    error = NOISE * np.exp(rng.uniform(-1.5, 1.5, len(T)))
    y = noisy(rng, clean(), count, error)
    return Trial(varpro.fit_batch(decays, T, y, TAU, weights=0.1 / error), TAU, A[:, None])


@case
def known_errors(rng: np.random.Generator, count: int) -> Trial:
    error = NOISE * np.exp(rng.uniform(-1.5, 1.5, len(T)))
    y = noisy(rng, clean(), count, error)
    many = varpro.fit_batch(decays, T, y, TAU, weights=1 / error, absolute_sigma=True)
    return Trial(many, TAU, A[:, None], known=True)


@case
def bounded(rng: np.random.Generator, count: int) -> Trial:
    y = noisy(rng, clean(), count)
    return Trial(varpro.fit_batch(decays, T, y, TAU, bounds=([0.0, 2.0], [3.0, 20.0])), TAU, A[:, None])


@case
def bounded_at_the_truth(rng: np.random.Generator, count: int) -> Trial:
    """Half of the fits end on the bound; what is left free is covered all the same."""
    y = noisy(rng, clean(), 2 * count)
    return Trial(varpro.fit_batch(decays, T, y, [1.0, 4.2], bounds=([0.1, 4.0], [10.0, 50.0])), TAU, A[:, None])


@case
def nonnegative(rng: np.random.Generator, count: int) -> Trial:
    return Trial(varpro.fit_batch(decays, T, noisy(rng, clean(), count), TAU, linear="nonnegative"), TAU, A[:, None])


@case
def nonnegative_at_zero(rng: np.random.Generator, count: int) -> Trial:
    """The offset is 0: half of the fits have it there, without an interval."""
    a = A * [1, 1, 0]
    y = noisy(rng, clean(a=a), 2 * count)
    return Trial(varpro.fit_batch(decays, T, y, TAU, linear="nonnegative"), TAU, a[:, None])


def humps(t: Any, w: Any) -> Array:
    """Eight Gaussians of one width."""
    centers = np.linspace(1.0, 11.0, 8)
    return np.exp(-0.5 * ((t[..., None] - centers) / np.asarray(w[0])[..., None]) ** 2)


@case
def ridge(rng: np.random.Generator, count: int) -> Trial:
    """Amplitudes as the ridge supposes them: normal, of standard deviation noise / sqrt(mu).  It takes the place of two
    thirds of a parameter; docs/campaign.md says where linear intervals end."""
    noise, spread, w = 0.1, 0.2, np.array([0.9])
    a = spread * rng.standard_normal((count, 8))
    y = a @ humps(T, w).T + noise * rng.standard_normal((count, len(T)))
    many = varpro.fit_batch(humps, T, y, w, ridge=(noise / spread) ** 2)
    return Trial(many, w, a[:, :, None])


def _robust(loss: str, outliers: float) -> Callable[[np.random.Generator, int], Trial]:
    def run(rng: np.random.Generator, count: int) -> Trial:
        y = noisy(rng, clean(), count)
        y += 10 * NOISE * (rng.random(y.shape) < outliers) * rng.standard_normal(y.shape)
        return Trial(varpro.fit_batch(decays, T, y, TAU, loss=loss), TAU, A[:, None])

    return run


for _loss in ("huber", "soft_l1", "cauchy"):
    for _share in (0.0, 0.1):
        CASES[f"robust {_loss}, {_share:.0%} outliers"] = _robust(_loss, _share)


@case
def missing(rng: np.random.Generator, count: int) -> Trial:
    y = noisy(rng, clean(), count)
    y[rng.random(y.shape) < 0.2] = np.nan
    return Trial(varpro.fit_batch(decays, T, y, TAU), TAU, A[:, None])


def tones(t: Any, w: Any) -> Array:
    return np.stack([np.exp(w[0] * t), np.exp(w[1] * t)], axis=-1)


@case
def complex_tones(rng: np.random.Generator, count: int) -> Trial:
    t, w, a = np.linspace(0, 5, 60), np.array([-0.2 + 3.0j, -0.5 - 1.5j]), np.array([1.5 - 0.5j, 0.8 + 2.0j])
    shape = (count, len(t))
    y = tones(t, w) @ a + 0.05 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    return Trial(varpro.fit_batch(tones, t, y, w), w, a[:, None])


@case
def complex_amplitudes(rng: np.random.Generator, count: int) -> Trial:
    a = A * np.exp(1j * np.arange(3))
    shape = (count, len(T))
    y = decays(T, TAU) @ a + NOISE * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    return Trial(varpro.fit_batch(decays, T, y, TAU), TAU, a[:, None])


@case
def shared(rng: np.random.Generator, count: int) -> Trial:
    """Three right-hand sides with weights of their own."""
    a, error = A[:, None] * [1.0, 0.5, -1.5], NOISE * np.array([1.0, 3.0, 0.5])
    y = noisy(rng, decays(T, TAU) @ a, count, error)
    weights = np.broadcast_to(NOISE / error, (len(T), 3))
    return Trial(varpro.fit_batch(decays, T, y, TAU, weights=np.broadcast_to(weights, y.shape)), TAU, a)


@case
def shared_by_many(rng: np.random.Generator, count: int) -> Trial:
    """Forty right-hand sides: the compressed form."""
    a = A[:, None] * rng.uniform(0.2, 2.0, (3, 40))
    y = noisy(rng, decays(T, TAU) @ a, count, 3 * NOISE)
    return Trial(varpro.fit_batch(decays, T, y, TAU), TAU, a)


@case
def tied(rng: np.random.Generator, count: int) -> Trial:
    y = noisy(rng, clean(), count)
    return Trial(varpro.fit_batch(decays, T, y, TAU, tied={1: (0, 3.5, 0.5)}), TAU, A[:, None])


@case
def equality(rng: np.random.Generator, count: int) -> Trial:
    y = noisy(rng, clean(), count)
    many = varpro.fit_batch(decays, T, y, TAU, linear_equality=([[1.0, 1.0, 0.0]], [5.0]))
    return Trial(many, TAU, A[:, None])


@case
def fixed_term(rng: np.random.Generator, count: int) -> Trial:
    def known(t: Any, w: Any) -> Array:
        return 3.0 * np.exp(-t / w[0]) + 0 * w[1]

    def free(t: Any, w: Any) -> Array:
        return np.stack(np.broadcast_arrays(np.exp(-t / w[1]), np.ones_like(t)), axis=-1)

    y = noisy(rng, clean(), count)
    return Trial(varpro.fit_batch(free, T, y, TAU, fixed_term=known), TAU, A[1:, None])


def wilson(held: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share."""
    z = scipy.stats.norm.ppf(0.5 + level / 2)
    middle, share = z * z / count, held / count
    half = z * np.sqrt(share * (1 - share) / count + middle / (4 * count))
    return (share + middle / 2 - half) / (1 + middle), (share + middle / 2 + half) / (1 + middle)


def _share(name: str, held: Array, given: Array) -> Share | None:
    """None where no interval was given, as of a parameter that is fixed."""
    count = int(given.sum())
    if not count:
        return None
    inside = int((held & given).sum())
    return Share(name, inside / count, *wilson(inside, count), count)


def _parts(values: Array, wanted: int) -> Array:
    """(B, wanted, ...) real parts, then imaginary parts, whichever way a complex result gives them."""
    if values.shape[1] == wanted and not np.iscomplexobj(values):
        return values
    return np.concatenate([values.real, values.imag], axis=1)


def shares(trial: Trial) -> list[Share]:
    """For each nonlinear parameter and column, and for each kind pooled."""
    many, out = trial.result, []
    good = np.asarray(many.success)
    quantile = scipy.stats.norm.ppf(0.975) if trial.known else scipy.stats.t.ppf(0.975, np.asarray(many.dof)[good])
    kinds = (
        ("w", many.nonlinear, many.stderr_nonlinear, trial.nonlinear),
        ("a", many.linear, many.stderr_linear, trial.linear),
    )
    for kind, value, error, truth in kinds:
        value = np.asarray(value)[good]
        count = value.shape[1] * (2 if np.iscomplexobj(value) else 1)
        off = value - (truth[good] if len(np.shape(truth)) == value.ndim else truth)
        error = _parts(np.asarray(error)[good], count)
        off = _parts(off, count)
        half = np.reshape(quantile, (-1, *[1] * (off.ndim - 1))) * error
        held, given = np.abs(off) <= half, np.isfinite(half) & (half > 0)
        out += [_share(f"{kind}_{i}", held[:, i], given[:, i]) for i in range(count)]
        out.append(_share(f"all {kind}", held, given))
    return [share for share in out if share is not None]


def report(name: str, count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Run a case, print it, and say whether it is good."""
    clock = time.perf_counter()
    trial = CASES[name](np.random.default_rng([seed, *name.encode()]), count)
    rows, converged = shares(trial), float(np.mean(trial.result.success))
    seconds = time.perf_counter() - clock
    good = converged >= CONVERGED and all(row.good for row in rows)
    print(f"{'' if good else 'WRONG '}{name}: {converged:.2%} converged, {seconds:.1f} s")
    for row in rows:
        mark = "" if row.good else "  <- outside 93 to 97 %"
        print(f"    {row.name:8s} {row.share:7.2%}  ({row.low:.2%} to {row.high:.2%}) of {row.count}{mark}")
    record = {"case": name, "converged": converged, "seconds": seconds, "shares": [asdict(row) for row in rows]}
    return record, good


def main(argv: list[str] | None = None) -> int:
    """0 where every share is within the limits."""
    parser = argparse.ArgumentParser(prog="coverage", description="Monte Carlo coverage of intervals of 95 %.")
    parser.add_argument("--count", type=int, default=2000, help="data sets a case (default 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="only this one; repeatable")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    with blas_threads(1), np.errstate(all="ignore"):
        done = [report(name, options.count, options.seed) for name in options.case or CASES]
    if options.json:
        record = {"seed": options.seed, "count": options.count, "cases": [row for row, _ in done]}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    bad = [row["case"] for row, good in done if not good]
    print(f"{len(done) - len(bad)} of {len(done)} cases cover 93 to 97 %" + (f"; not: {', '.join(bad)}" if bad else ""))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
