"""The 27 NIST StRD problems from both starts: digits and evaluations of varpro.fit beside unseparated MINPACK.

    python bench/nist.py [--nist DIR] [--json FILE]

Digits are the least -log10 relative error over the parameters (or deviations, or of the RSS), at most the 11 certified;
a run with 6 digits on every parameter is solved.  An equal minimum, terms exchanged or signs turned, counts as the
certified one.  varpro.fit has its default tolerances and the analytic derivatives of the columns.  MINPACK fits all
parameters in NIST's own form from NIST's own start, tolerances 1e-15 and its own scaling: by differences, whose
evaluations count, and with the same analytic derivatives.  The RSS of Lanczos1 is rounding error: no digits.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.optimize

import varpro
from varpro.arrays import Array
from varpro.errors import VarproError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.fit.nist import PROBLEMS, NistData, NistProblem, directory, load

CAP = 11.0
SOLVED = 6.0


@dataclass(frozen=True)
class Run:
    problem: str
    start: int
    parameter_digits: float
    rss_digits: float
    deviation_digits: float | None
    nfev: int
    njev: int
    status: str
    seconds: float

    @property
    def solved(self) -> bool:
        return self.parameter_digits >= SOLVED


Method = Callable[[NistProblem, NistData, int], Run]


def digits(ours: Array | float, certified: Array | float) -> float:
    error = np.max(np.abs(np.subtract(ours, certified) / certified))
    return float(np.clip(-np.log10(error + 1e-300), 0, CAP)) if np.isfinite(error) else 0.0


def separated(problem: NistProblem, data: NistData, start: int) -> Run:
    began = time.perf_counter()
    fit = varpro.fit(
        problem.model,
        data.x,
        problem.transform(data.y),
        w0=problem.start(data.starts[start]),
        derivative=(problem.pairs, problem.columns),
        fixed_term=problem.fixed_term,
        fixed_term_derivative=problem.fixed_columns,
    )
    seconds = time.perf_counter() - began
    w, a = np.ravel(fit.nonlinear), np.ravel(fit.linear)
    b, to_b = problem.full(w, a), problem.jacobian(w, a)
    deviations = np.sqrt(np.diag(to_b @ fit.covariance @ to_b.T))
    order, sign = problem.symmetry(b)
    return Run(
        data.name,
        start + 1,
        digits(sign * b[order], data.certified),
        digits(fit.rss, data.rss),
        digits(deviations[order], data.deviations),
        int(fit.nfev),
        int(fit.njev),
        str(getattr(fit.status, "name", fit.status)),
        seconds,
    )


def unseparated(problem: NistProblem, data: NistData, start: int, analytic: bool) -> Run:
    y, evaluations = problem.transform(data.y), 0

    def residual(b: Array) -> Array:
        nonlocal evaluations
        evaluations += 1
        return problem.predict(data.x, problem.start(b), problem.coefficients(b)) - y

    def jacobian(b: Array) -> Array:
        w, a = problem.start(b), problem.coefficients(b)
        return problem.derivative(data.x, w, a) @ np.linalg.inv(problem.jacobian(w, a))

    began = time.perf_counter()
    fit = scipy.optimize.least_squares(
        residual,
        data.starts[start],
        jac=jacobian if analytic else "2-point",
        method="lm",
        x_scale="jac",
        ftol=1e-15,
        xtol=1e-15,
        gtol=1e-15,
        max_nfev=50_000,
    )
    seconds = time.perf_counter() - began
    return Run(
        data.name,
        start + 1,
        digits(problem.match(fit.x), data.certified),
        digits(2 * fit.cost, data.rss),
        None,
        evaluations,
        int(fit.njev or 0),
        f"info {fit.status}",
        seconds,
    )


METHODS: dict[str, Method] = {
    "varpro.fit": separated,
    "MINPACK, differences": lambda *case: unseparated(*case, analytic=False),
    "MINPACK, analytic": lambda *case: unseparated(*case, analytic=True),
}


def attempt(method: Method, problem: NistProblem, data: NistData, start: int) -> Run:
    """A run that raises did not solve its problem, and says so; a wrong call (VarproError) ends the benchmark."""
    try:
        with np.errstate(all="ignore"):
            return method(problem, data, start)
    except VarproError:
        raise
    except (ArithmeticError, ValueError, RuntimeError) as error:
        return Run(data.name, start + 1, 0.0, 0.0, None, 0, 0, f"{type(error).__name__}: {error}", 0.0)


def describe(runs: dict[str, Run]) -> str:
    ours, *others = runs.values()
    deviation = "-" if ours.deviation_digits is None else f"{ours.deviation_digits:.1f}"
    theirs = "".join(f" | {run.parameter_digits:7.1f} {run.rss_digits:5.1f} {run.nfev:6d}" for run in others)
    return (
        f"{ours.problem:9s} {ours.start:5d} | {ours.parameter_digits:7.1f} {ours.rss_digits:5.1f} {deviation:>5s}"
        f" {ours.nfev:5d} {ours.njev:5d}{theirs} | {ours.status}"
    )


def total(runs: list[Run]) -> dict[str, float]:
    first = [run for run in runs if run.start == 1]
    return {
        "runs": len(runs),
        "solved": sum(run.solved for run in runs),
        "solved_from_start_1": sum(run.solved for run in first),
        "nfev_from_start_1": sum(run.nfev for run in first),
        "nfev": sum(run.nfev for run in runs),
        "seconds": sum(run.seconds for run in runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="NIST StRD nonlinear regression, separated and not.")
    parser.add_argument("--nist", type=Path, default=directory(), help="a folder of NIST's own .dat files to read")
    parser.add_argument("--json", type=Path, help="write every run and the totals here")
    arguments = parser.parse_args()
    if arguments.nist and not arguments.nist.is_dir():
        parser.error(f"no folder {arguments.nist}; without --nist and VARPRO_NIST, those of tests/fit/nist_data serve")

    _, *others = METHODS
    print(f"{'':15s} | {next(iter(METHODS)):29s}" + "".join(f" | {name:20s}" for name in others))
    print("problem   start | digits   rss  std.  nfev  njev" + " |  digits   rss   nfev" * len(others) + " | status")
    runs: dict[str, list[Run]] = {name: [] for name in METHODS}
    for name in sorted(PROBLEMS):
        data = load(name, arguments.nist)
        for start in (0, 1):
            row = {label: attempt(method, PROBLEMS[name], data, start) for label, method in METHODS.items()}
            for label, run in row.items():
                runs[label].append(run)
            print(describe(row), flush=True)

    totals = {label: total(list_of_runs) for label, list_of_runs in runs.items()}
    print()
    for label, sums in totals.items():
        print(
            f"{label:20s} solved {sums['solved']:2.0f} of {sums['runs']:.0f}; from start 1 solved "
            f"{sums['solved_from_start_1']:2.0f}, nfev {sums['nfev_from_start_1']:5.0f}; {sums['seconds']:.2f} s in all"
        )
    if arguments.json:
        record = {label: [asdict(run) for run in list_of_runs] for label, list_of_runs in runs.items()}
        arguments.json.write_text(json.dumps({"totals": totals, "runs": record}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
