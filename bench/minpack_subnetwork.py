"""One sub-network against the paper's optimiser: seconds an iteration, side by side in one run.

    python bench/minpack_subnetwork.py [--data DIR] [--repeats 3]

N = 1,000 images, I = 25 quadratic units, L = 28, K = 10.  MINPACK (scipy.optimize.leastsq) is given the dense analytic
Jacobian of the variable projection residual, 10,000 rows, made with the same projector; it must only factor it.  Both
start from the same w, run one BLAS thread, and are checked to descend to comparable costs before the ratio is printed.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize

from varpro.arrays import Array
from varpro.distributed.threads import blas_threads
from varpro.models import QuadraticUnits
from varpro.problems.separable import SeparableProblem
from varpro.search.damping import DampingRule
from varpro.search.loop import search
from varpro.search.termination import Termination
from varpro.train.data.datasets import load_dataset
from varpro.train.scalarized.network import one_hot

ONE = np.arange(1)


def make_problem(data: Path | None, samples: int, units: int, precision: str) -> tuple[SeparableProblem, Array]:
    """The sub-network and its start."""
    dataset = load_dataset("mnist", data)
    rng = np.random.default_rng(0)
    rows = rng.choice(50_000, samples, replace=False)
    images = dataset.train.images[rows][:, None]
    kind = QuadraticUnits((1, 28, 28), units)
    bound = kind.bind(images, "tanh")
    y = one_hot(dataset.train.labels[rows], 10)[None]
    return SeparableProblem(model=bound, y=y, gn_precision=precision), bound.lower(kind.start(rng, images))


def dense_jacobian(problem: SeparableProblem, w: Array) -> Array:
    """d vec(R) / d w (N K, M): -(P_perp D_m a_j^T + u_j (D_m^T R)) with u_j the column j of (Phi^+)^T."""
    evaluation = problem.evaluate(w[None], ONE)
    factor, a, residual = evaluation.factor, evaluation.a[0], evaluation.residual[0]
    d = problem.model.jacobian(w[None], ONE, "float64")[0]
    u, columns = factor.u[0], problem.model.columns
    pinv_t = u @ factor.back[0].T
    projected = d - u @ (u.T @ d)
    jacobian = projected[:, None, :] * a[columns].T[None]
    jacobian += pinv_t[:, columns][:, None, :] * (d.T @ residual).T[None]
    return -jacobian.reshape(-1, d.shape[1])


def ours(problem: SeparableProblem, w: Array, iterations: int) -> tuple[float, float]:
    """Seconds an iteration and the cost reached."""
    termination = Termination(max_iterations=iterations, cost_tolerance=0.0)
    clock = time.perf_counter()
    found = search(problem, w[None], damping=DampingRule(initial=0.1), termination=termination)
    return (time.perf_counter() - clock) / found.iterations[0], float(found.cost[0])


def minpack(problem: SeparableProblem, w: Array, iterations: int) -> tuple[float, float]:
    """Seconds an iteration (a Jacobian, its factorisation, the trial steps) and the cost reached."""
    jacobians = 0

    def residual(v: Array) -> Array:
        return problem.evaluate(v[None], ONE).residual[0].ravel()

    def derivative(v: Array) -> Array:
        nonlocal jacobians
        jacobians += 1
        return dense_jacobian(problem, v)

    clock = time.perf_counter()
    _, _, info, _, _ = scipy.optimize.leastsq(residual, w, Dfun=derivative, full_output=True, maxfev=iterations + 1)
    seconds = time.perf_counter() - clock
    return seconds / jacobians, 0.5 * float(np.sum(info["fvec"] ** 2))


def check_jacobian(problem: SeparableProblem, w: Array) -> None:
    """MINPACK's Jacobian is right, and the Hadamard form is its square."""
    jacobian, evaluation = dense_jacobian(problem, w), problem.evaluate(w[None], ONE)
    v = np.random.default_rng(1).standard_normal(len(w))
    step = 1e-6
    ends = [problem.evaluate((w + s * step * v)[None], ONE).residual[0].ravel() for s in (1, -1)]
    along = (ends[0] - ends[1]) / (2 * step)
    error = np.linalg.norm(jacobian @ v - along) / np.linalg.norm(along)
    h = problem.linearise(evaluation).h[0]
    h = np.tril(h) + np.tril(h, -1).T
    square = np.linalg.norm(h - jacobian.T @ jacobian) / np.linalg.norm(h)
    if not (error < 1e-6 and square < 1e-10):
        raise SystemExit(f"the Jacobian is wrong: {error:.1e} from differences, {square:.1e} from the Hadamard form")


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with blas_threads(1):
        double, w = make_problem(options.data, 1000, 25, "float64")
        single, _ = make_problem(options.data, 1000, 25, "float32")
        check_jacobian(double, w)
        rows: dict[str, list[float]] = {"minpack": [], "fp64": [], "fp32": []}
        costs: dict[str, float] = {}
        for _ in range(options.repeats):  # interleaved, so that a busy machine slows all alike
            for name, run in (
                ("fp64", lambda: ours(double, w, 10)),
                ("fp32", lambda: ours(single, w, 10)),
                ("minpack", lambda: minpack(double, w, 2)),
            ):
                seconds, costs[name] = run()
                rows[name].append(seconds)
    median = {name: statistics.median(values) for name, values in rows.items()}
    report: dict[str, Any] = {
        "shape": {"N": 1000, "I": 25, "L": 28, "K": 10, "M": len(w)},
        "seconds_an_iteration": median,
        "spread": {name: [min(values), max(values)] for name, values in rows.items()},
        "cost": costs,
        "ratio_fp64": median["minpack"] / median["fp64"],
        "ratio_fp32": median["minpack"] / median["fp32"],
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
