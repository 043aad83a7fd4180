"""How much arithmetic and memory a run takes, counted before it starts.

For a sub-network of N images, I units (and the constant), M searched parameters, K outputs, each linearisation costs

    D^T D, one triangle      N M^2              Cholesky                       M^3 / 3
    [U | R]^T D              2 N M (I + 1 + K)  z^T z, one triangle            (I + 1) M^2
    G G^T and the weights    (2 K + 4) M^2 / 2  scalarization with D           2 N M side

and each evaluation 2 N M side for the values and 4 N (I + 1)^2 for CholeskyQR2.  Additions and multiplications count alike.
"""

from dataclasses import dataclass

from varpro.config import RunConfig


def subnetwork_gflop(*, n: int, m: int, i: int, k: int, iterations: int, evaluations: int) -> float:
    """GFLOP of one sub-network's search; i units, the constant not counted, m parameters searched."""
    columns, side = i + 1, m / i
    linearisation = n * m * m + m**3 / 3 + 2 * n * m * (columns + k) + columns * m * m + (k + 2) * m * m + 2 * n * m * side
    evaluation = 2 * n * m * side + 4 * n * columns**2
    return 1e-9 * (iterations * linearisation + evaluations * evaluation)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take; counts are exact, memory and arithmetic estimates."""

    total_units: int
    parameters_per_unit: float
    nonlinear: int
    linear: int
    subnetwork_gflop: float
    """GFLOP of the sub-network phase, at the limit on iterations"""
    glue_gflop: float
    """GFLOP of one glueing"""
    rank_gigabytes: float
    """Peak memory of a rank"""


def parameters_per_unit(config: RunConfig, shape: tuple[int, int, int]) -> float:
    """Nonlinear parameters of a unit; the mean where window sides are drawn."""
    planes, rows, columns = shape
    if config.model.unit == "quadratic":
        return rows + 1 + (planes if planes > 1 else 0)
    if config.model.unit == "bilinear":
        return planes * rows + columns + 1
    return (planes + 1) * (config.model.window[0] + config.model.window[1]) / 2 + 1


def plan(config: RunConfig, shape: tuple[int, int, int], n_train: int, n_images: int, n_classes: int, ranks: int, threads: int) -> Plan:
    """Count a run on images of shape (planes, rows, columns); n_images of them are held by every rank."""
    per_unit = parameters_per_unit(config, shape)
    total = config.units * max(config.subnetworks, 1)
    pixels = shape[0] * shape[1] * shape[2]
    m = round(per_unit * config.units)
    search = config.subnetworks * subnetwork_gflop(
        n=config.samples, m=m, i=config.units, k=n_classes, iterations=config.search.iterations, evaluations=config.search.iterations + 1
    )
    columns = total + 1
    glue = 1e-9 * (n_train * (2 * pixels * total + columns**2) + columns**3 / 3)
    item = 4 if config.search.gn_precision == "fp32" else 8
    block = 8 * config.glue.block_rows * columns
    one = config.samples * (8 * pixels + item * m) + (16 + item) * m * m
    searching = min(threads, config.subnetworks) * one
    gluing = 8 * 3 * columns**2 + 2 * block
    refining = (4 if config.refine.precision == "fp32" else 8) * n_train / ranks * columns if config.refine.enabled else 0
    memory = 0.25e9 + n_images * pixels + max(searching, gluing + 0, refining + 8 * 3 * columns**2)
    return Plan(total, per_unit, round(per_unit * total), columns * n_classes, search, glue, 1e-9 * memory)
