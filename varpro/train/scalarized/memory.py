"""The peak memory of a rank, estimated before a run, by phases.

What is always there (libraries, the images as bytes, right-hand sides) and the phase that needs the most beside it.
Each phase is counted by its large arrays; the constants were measured on Linux, with one BLAS thread.
"""

from math import prod

from varpro.config.scalarized import ScalarizedConfig
from varpro.linalg.row_sums import BLOCK_ROWS
from varpro.models.units import UnitSize
from varpro.problems.network_jacobian import D_BYTES
from varpro.train.scalarized.glue_gradients import RANK

LIBRARIES = 0.14e9
"""Python with the modules of a training."""
REPORT = 0.06e9
"""matplotlib and the plots, on the first rank, when all else is done."""
SKETCHES = 5
"""Matrices of columns x RANK at a time while `glue: cg` makes its preconditioner, one of them the part of a block."""
VECTORS = 7
"""Matrices of columns x right-hand sides in its iterations."""


def rank_gigabytes(
    config: ScalarizedConfig,
    shape: tuple[int, ...],
    *,
    n_train: int,
    n_images: int,
    n_classes: int,
    ranks: int,
    threads: int,
    size: UnitSize,
) -> float:
    """The peak memory of a rank in GB, of which every rank holds n_images images of a shape."""
    phases = phase_bytes(config, shape, n_train=n_train, n_classes=n_classes, ranks=ranks, threads=threads, size=size)
    return 1e-9 * (LIBRARIES + n_images * prod(shape) + 8 * n_train * n_classes + max(phases.values()))


def phase_bytes(
    config: ScalarizedConfig,
    shape: tuple[int, ...],
    *,
    n_train: int,
    n_classes: int,
    ranks: int,
    threads: int,
    size: UnitSize,
) -> dict[str, float]:
    """What each phase takes beside what is always there."""
    columns = config.units * size.columns * max(config.subnetworks, 1) + 1
    one = _subnetwork(config, prod(shape), min(config.samples, n_train), n_classes, size)
    found = {
        "sub-networks": min(threads, config.subnetworks) * one,
        "gluing": _gluing(config, columns, n_train, n_classes, ranks),
        "report": REPORT,
    }
    if config.refine.enabled:
        found["refinement"] = _refinement(config, columns, n_train, n_classes, ranks, threads, size)
    return found


def _subnetwork(config: ScalarizedConfig, pixels: int, n: int, n_classes: int, size: UnitSize) -> float:
    """One search: images as doubles with D and three triangles, or J with Phi and the Gram matrix of its columns."""
    item = 4 if config.search.gn_precision == "fp32" else 8
    m = round(size.parameters * config.units)
    if size.columns == 1 or config.search.method != "levenberg-marquardt":
        return n * (8 * pixels + item * m * size.columns) + (16 + item) * m * m
    columns = config.units * size.columns + 1
    return item * n_classes * m * _with_a_block(n) + 3 * item * n * columns + 3 * 8 * columns**2


def _gluing(config: ScalarizedConfig, columns: int, n_train: int, n_classes: int, ranks: int) -> float:
    """The Gram matrix, its factor and a copy, or sketches and vectors of conjugate gradients; Phi where it is held, or
    else the block in use and the next."""
    block = 8 * min(config.glue.block_rows, n_train) * columns
    whole = (4 if config.glue.precision == "fp32" else 8) * n_train * columns
    phi = whole / ranks if whole <= 1e9 * config.glue.memory else 2.0 * block
    if config.glue.loss == "cross_entropy":
        return 8 * 3 * columns**2 + phi + 4 * n_train / ranks * columns
    if config.glue.method == "cg":
        ridges = 5 if config.glue.ridge == "auto" else 1
        sketches, vectors = SKETCHES * min(RANK, columns), min(RANK, columns) + VECTORS * ridges * n_classes
        return max(8 * columns * max(sketches, vectors), block) + phi  # a block is squared before there are sketches
    return 8 * 3 * columns**2 + phi


def _refinement(
    config: ScalarizedConfig, columns: int, n_train: int, n_classes: int, ranks: int, threads: int, size: UnitSize
) -> float:
    """Phi of the largest sample at an iterate and at a trial, J of the largest that fits into refine.memory with D of
    the rows that it is being made of, in both precisions, and three matrices of the columns."""
    refine = config.refine
    item = 4 if refine.precision == "fp32" else 8
    parameters = size.parameters * config.units * max(config.subnetworks, 1)
    one = item * n_classes * parameters
    samples = [min(float(n_train), refine.first_rows * refine.growth**step) for step in range(refine.iterations + 1)]
    held = max((rows for rows in samples if one * rows <= 1e9 * refine.memory), default=0.0)
    made = 0.0 if held == samples[-1] else min(BLOCK_ROWS, samples[-1]) * threads  # again and again, block by block
    j = one * (held / ranks + made)
    d = min(D_BYTES, 8 * parameters * min(BLOCK_ROWS, samples[-1])) if size.columns == 1 else 0.0
    phi = 2 * item * samples[-1] * columns / ranks
    return phi + j + threads * (8 + item) / 8 * d + 8 * 3 * columns**2


def _with_a_block(rows: int) -> int:
    """The rows of J, and again those of the block that is being contracted."""
    return rows + min(rows, BLOCK_ROWS)
