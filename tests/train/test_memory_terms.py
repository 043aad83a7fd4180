"""The terms of the memory that a run is told to take, counted by hand at sizes that all differ."""

import pytest

from tests.train.small_run import config_of
from varpro.models.units import UnitSize
from varpro.train.scalarized import memory
from varpro.train.scalarized.memory import phase_bytes

SHAPE = (3, 5, 7)
ONE = UnitSize(parameters=23, multiplications=105.0, columns=1)
FOUR = UnitSize(parameters=23, multiplications=105.0, columns=4)


def phases(size, *, n_train=900, n_classes=3, ranks=2, threads=4, **changes):
    """The bytes of each phase of a run of 6 sub-networks with 4 units each."""
    config = config_of(**{"subnetworks": 6, "units": 4, "samples": 200, "glue": {"block_rows": 10}} | changes)
    return phase_bytes(config, SHAPE, n_train=n_train, n_classes=n_classes, ranks=ranks, threads=threads, size=size)


def held_apart(**glue):
    """Bytes of gluing without Phi, which is not held, and without its two blocks."""
    found = phases(ONE, glue={"block_rows": 10, "memory": 0.0, **glue})["gluing"]
    return found - 2 * 8 * 10 * 25


def test_cross_entropy_holds_phi_in_single_precision_beside_its_matrices():
    assert held_apart(loss="cross_entropy", ridge=1.0) == pytest.approx(8 * 3 * 25**2 + 4 * 900 / 2 * 25)


@pytest.mark.parametrize(("ridge", "candidates"), [(1.0, 1), ("auto", 5)])
def test_conjugate_gradients_hold_sketches_or_the_vectors_of_every_candidate(ridge, candidates):
    expected = 8 * 25 * max(5 * 25, 25 + 7 * candidates * 3)  # no more columns than there are
    assert held_apart(method="cg", ridge=ridge) == pytest.approx(expected)


def test_with_many_columns_the_rank_of_the_sketches_is_bounded():
    units, columns = 400, 6 * 400 + 1
    found = phases(ONE, units=units, glue={"block_rows": 10, "memory": 0.0, "method": "cg", "ridge": 1.0})["gluing"]
    assert found == pytest.approx(8 * columns * 5 * 300 + 2 * 8 * 10 * columns)


def test_a_search_without_the_gauss_newton_matrix_holds_images_and_d_of_every_column():
    m = 4 * 23
    found = phases(FOUR, search={"method": "gradient"})["sub-networks"]
    assert found == pytest.approx(4 * (200 * (8 * 105 + 8 * m * 4) + (16 + 8) * m * m))


def test_as_many_sub_networks_are_searched_at_once_as_there_are_threads_and_images_for():
    one = phases(ONE, threads=1)["sub-networks"]
    assert phases(ONE, threads=3)["sub-networks"] == pytest.approx(3 * one)
    assert phases(ONE, threads=30)["sub-networks"] == pytest.approx(6 * one)  # no more than there are
    few = phases(ONE, threads=1, n_train=50)["sub-networks"]
    m = 4 * 23
    assert few == pytest.approx(50 * (8 * 105 + 8 * m) + (16 + 8) * m * m)
    assert "refinement" not in phases(ONE)


@pytest.mark.parametrize(("precision", "item"), [("fp32", 4), ("fp64", 8)])
def test_a_refinement_of_units_with_several_columns_makes_j_without_d(precision, item):
    def refinement(**keys):
        refine = {"precision": precision, "first_rows": 5000, "growth": 1.0, "iterations": 1, **keys}
        return phases(FOUR, n_train=20_000, threads=3, refine=refine)["refinement"]

    columns, parameters = 24 * 4 + 1, 24 * 23
    always = 2 * item * 5000 * columns / 2 + 8 * 3 * columns**2
    one = item * 3 * parameters
    assert refinement(memory=1e3) == pytest.approx(always + one * 5000 / 2)
    assert refinement(memory=0.0) == pytest.approx(always + one * memory.BLOCK_ROWS * 3)
