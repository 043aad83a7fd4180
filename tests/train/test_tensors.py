"""Tensors of higher order go through what a run keeps for later: its checkpoints."""

import numpy as np
import pytest

from varpro.models.units import UNITS, find_kind
from varpro.result import IterationRecord, Status
from varpro.train.scalarized.restart import result_of, state_of
from varpro.train.scalarized.subnetworks import Trained


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        ("multilinear", (2, 3, 4, 3), {"rank": 2}),
        ("multilinear", (3, 3, 3, 3, 3), {"shared": True}),
        ("bilinear", (2, 3, 4), {"rank": 2}),
        ("tests.models.own_ridge:Ridge", (1, 6, 5), {"gain": 0.4, "edge": "hart"}),
    ],
)
def test_a_sub_network_comes_back_from_a_checkpoint(kind, shape, options):
    found = find_kind(kind)
    assert (kind in UNITS) is (":" not in kind)
    rng = np.random.default_rng(0)
    units = found.create(shape, 3, rng, found.Options(**options))
    w = rng.standard_normal(units.n_parameters)
    record = IterationRecord(0, 1, 2.5, 0.1, 0.9, True, 4)
    trained = Trained(
        index=5, units=units, w=w, iterations=3, evaluations=4, cost=2.5, status=Status.ITERATIONS, history=[record],
        gflop=0.1, started=1.0, seconds=2.0,
    )  # fmt: skip
    again, rank = result_of(state_of(trained, 1))
    assert rank == 1
    assert again.units == units
    np.testing.assert_array_equal(again.w, w)
