"""The arithmetic and memory of a run, counted before it starts.

For a sub-network of N images, I units of one column (and the constant), M searched parameters, K outputs, each
linearisation costs

    D^T D, one triangle      N M^2              Cholesky                       M^3 / 3
    [U | R]^T D              2 N M (I + 1 + K)  z^T z, one triangle            (I + 1) M^2
    G G^T and the weights    (2 K + 4) M^2 / 2  scalarization with D           2 N M side

and each evaluation 2 N M side for the values and 4 N (I + 1)^2 for CholeskyQR2.  For a whole network on N rows, whose
units take E multiplications per image, the entries of w w^T or u v^T:

    Phi, or a contraction with D   2 N E I         a product with J^T J   4 N E I + 8 N I K
    Phi^T Phi, one triangle        N (I + 1)^2     its Cholesky           (I + 1)^3 / 3

where a step contracts once for the gradient and, for the full Golub-Pereyra matrix, K more times, or K c if a unit owns
c columns.  A sub-network of such units holds J (N K M), made from D for about three times the price of Phi; a product
with J^T J then costs 4 N K M + 8 N I c K.

Additions and multiplications count alike.
"""

from dataclasses import dataclass
from functools import partial

from varpro.config.scalarized import ScalarizedConfig
from varpro.models.units import UnitSize
from varpro.train.scalarized.memory import rank_gigabytes

NETWORK_PRODUCTS = 25
"""The most conjugate-gradient products per step of a sub-network whose units own several columns."""


def subnetwork_gflop(
    *, n: int, m: int, i: int, k: int, iterations: int, evaluations: int, c: int = 1,
    entries: float = 0.0, gauss_newton: bool = True,
) -> float:  # fmt: skip
    """GFLOP of one sub-network's search: i units of c columns, without the constant, m parameters searched, and
    `entries` multiplications per unit and image where c > 1: there J is made, and J^T J.

    gauss_newton : False for steepest descent, whose linearisation is D and its product with the derivative by Phi.
    """
    columns, side = i * c + 1, m / i
    if not gauss_newton:
        values = 2 * n * i * entries if c > 1 else 2 * n * m * side
        linearisation = c * 2 * n * m * side + 2 * n * m * c + 2 * n * columns * k
        evaluation = values + 4 * n * columns**2
    elif c > 1:
        step = NETWORK_PRODUCTS * (4 * n * k * m + 8 * n * columns * k)
        linearisation = 6 * n * i * entries + 2 * n * m * c * k + step
        evaluation = 2 * n * i * entries + n * columns**2 + columns**3 / 3
    else:
        linearisation = n * m**2 + columns * m**2 + (k + 2) * m**2 + m**3 / 3 + 2 * n * m * (columns + k + side)
        evaluation = 2 * n * m * side + 4 * n * columns**2
    return 1e-9 * (iterations * linearisation + evaluations * evaluation)


def whole_network_gflop(
    *, n: int, i: int, k: int, entries: float, products: int, kaufman: bool = True, c: int = 1
) -> float:
    """GFLOP of one evaluation on n rows, its gradient, and a step of so many products.

    i units of c columns, each with `entries` multiplications per image; products = 0 counts the evaluation alone, as in
    gluing, which has no gradient.
    """
    columns = i * c
    evaluation = 2 * n * entries * i + n * (columns + 1) ** 2 + (columns + 1) ** 3 / 3
    contractions = 1 if kaufman else 1 + k * c
    step = contractions * 2 * n * entries * i + products * (4 * n * entries * i + 8 * n * columns * k)
    return 1e-9 * (evaluation + (step if products else 0.0))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take; the counts are exact if nothing stops early, the memory is an estimate."""

    parameters_per_unit: float
    columns_per_unit: int
    nonlinear: int
    linear: int
    subnetwork_gflop: float
    """GFLOP of the sub-network phase, at the limit on iterations."""
    glue_gflop: float
    """GFLOP of gluing, and again for the control."""
    refine_gflop: float
    """GFLOP of the refinement, without rejected steps."""
    bootstrap_gflop: float
    """GFLOP of the learning cycle on the test images."""
    rank_gigabytes: float
    """The peak memory of a rank, in GB."""


def size_of_unit(config: ScalarizedConfig, shape: tuple[int, ...]) -> UnitSize:
    """Parameters, arithmetic and columns of one unit of a run."""
    return config.model.kind.size_of_one(shape, config.model.options)


def plan(
    config: ScalarizedConfig,
    shape: tuple[int, ...],
    *,
    n_train: int,
    n_test: int,
    n_images: int,
    n_classes: int,
    ranks: int,
    threads: int,
) -> Plan:
    """Count a run on images of one shape, of which every rank holds n_images."""
    size, total = size_of_unit(config, shape), config.units * max(config.subnetworks, 1)
    searching, refining, gluing = _cycle_gflop(config, shape, n_train, n_classes)
    return Plan(
        parameters_per_unit=size.parameters,
        columns_per_unit=size.columns,
        nonlinear=round(size.parameters * total),
        linear=(total * size.columns + 1) * n_classes,
        subnetwork_gflop=searching,
        glue_gflop=gluing * (2 if config.control else 1),
        refine_gflop=refining,
        bootstrap_gflop=config.bootstrap.rounds * sum(_cycle_gflop(config, shape, n_test, n_classes))
        if config.bootstrap.enabled
        else 0.0,
        rank_gigabytes=rank_gigabytes(
            config,
            shape,
            n_train=n_train,
            n_images=n_images,
            n_classes=n_classes,
            ranks=ranks,
            threads=threads,
            size=size,
        ),
    )


def _cycle_gflop(
    config: ScalarizedConfig, shape: tuple[int, ...], n: int, n_classes: int
) -> tuple[float, float, float]:
    """GFLOP of the sub-networks, the refinement and one gluing of a learning cycle on n rows."""
    size = size_of_unit(config, shape)
    searching = config.subnetworks * subnetwork_gflop(
        n=min(config.samples, n),
        m=round(size.parameters * config.units),
        i=config.units,
        k=n_classes,
        iterations=0 if config.search.method == "derivative-free" else config.search.iterations,
        evaluations=config.search.evaluations
        if config.search.method == "derivative-free"
        else config.search.iterations + 1,
        c=size.columns,
        entries=size.multiplications,
        gauss_newton=config.search.method == "levenberg-marquardt",
    )
    whole = partial(
        whole_network_gflop,
        i=config.units * max(config.subnetworks, 1),
        k=n_classes,
        entries=size.multiplications,
        c=size.columns,
    )
    refine, refining, rows = config.refine, 0.0, float(min(n, config.refine.first_rows))
    for _ in range(refine.iterations if refine.enabled else 0):
        refining += whole(n=round(rows), products=refine.products, kaufman=refine.jacobian == "kaufman")
        rows = min(float(n), refine.growth * rows)
    return searching, refining, whole(n=n, products=0)
