"""Sub-networks side by side, as a device searches them, but without a device: each gets its own result."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.train.small_run import config_of, dataset, rows_of, run_of
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import BackendError
from varpro.train.scalarized import device_subnetworks as module
from varpro.train.scalarized.cycle import subnetwork_task
from varpro.train.scalarized.device_subnetworks import DeviceTask, batch_size, subnetwork_bytes
from varpro.train.scalarized.partition import TRAINING

ROWS = rows_of(dataset().train)


class SideBySide:
    """The units bound to the images of each sub-network, as one basis of several problems."""

    parameters = None

    def __init__(self, units, images, rows, sigma):
        self.bound = [units.bind(images[own], sigma) for own in rows]
        self.columns = self.bound[0].columns

    @classmethod
    def bind(cls, units, images, rows, sigma):
        return cls(units, images, rows, sigma)

    def basis(self, w, problems):
        parts = zip(problems, w, strict=True)
        return np.concatenate([self.bound[p].basis(one[None], np.arange(1)) for p, one in parts])

    def jacobian(self, w, problems, dtype):
        parts = zip(problems, w, strict=True)
        return np.concatenate([self.bound[p].jacobian(one[None], np.arange(1), dtype) for p, one in parts])

    def lift(self, w):
        return w


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(module, "DeviceUnits", SideBySide)
    return subnetwork_task(run_of(config_of(subnetworks=5, model={"unit": "bilinear"})), ROWS, TRAINING)


def batches_of(task, indices, free):
    """The batches of a task on a device with so much free memory."""
    device = SimpleNamespace(put=np.asarray, free_bytes=free, current=nullcontext)
    return DeviceTask.of(replace(task, device=device, images=ROWS.images), indices, SerialCommunicator(), 2)


@pytest.mark.parametrize("free", [10**9, 250_000])
def test_a_batch_brings_back_what_each_alone_does(task, free):
    """Also in several batches, where memory holds not all: the smaller figure holds fewer than five."""
    batches = batches_of(task, [4, 1, 3], free)
    assert len(batches) == (1 if free == 10**9 else 3)
    found = [trained for number in range(len(batches)) for trained in batches(number)]
    assert [t.index for t in found] == [4, 1, 3]
    for one in found:
        alone = task(one.index)
        np.testing.assert_allclose(one.w, alone.w, rtol=1e-7, atol=1e-9)
        assert one.cost == pytest.approx(alone.cost, rel=1e-9)
        assert (one.iterations, one.evaluations, one.status) == (alone.iterations, alone.evaluations, alone.status)
        assert one.gflop == pytest.approx(alone.gflop, rel=1e-12)
        costs = [[record.cost for record in t.history] for t in (one, alone)]
        np.testing.assert_allclose(costs[0], costs[1], rtol=1e-9)
        assert 0 < one.seconds < 60
        assert abs(one.started - alone.started) < 60


def test_no_sub_networks_need_no_device(task):
    assert len(batches_of(task, [], 0)) == 0


def test_memory_of_a_sub_network_is_its_table():
    n, m, i, k = 61, 55, 5, 3
    common = 8 * n * (4 * (i + 1) + 4 * k) + 8 * 8 * m * (i + k)
    assert subnetwork_bytes(n=n, m=m, i=i, k=k, item=8) == n * m * 8 + m * m * (8 + 24) + common
    assert subnetwork_bytes(n=n, m=m, i=i, k=k, item=4) == 2 * n * m * 4 + m * m * (4 + 24) + common


def test_the_precision_says_how_large_an_entry_is(task):
    draw = task.start(0)
    for precision, item in (("float64", 8), ("float32", 4), ("tf32", 4)):
        told = replace(task, options=replace(task.options, gn_precision=precision))
        one = subnetwork_bytes(n=61, m=len(draw.w), i=5, k=3, item=item)
        assert [batches_of(told, [0, 1], int(free / 0.8) + 1).size for free in (one, 2 * one)] == [1, 2]


SIZES = [(10, 1000, 5), (9, 700, 5), (16, 1000, 8), (3, 1000, 3), (0, 1000, 0)]


@pytest.mark.parametrize(("count", "free", "size"), SIZES)
def test_batches_are_as_even_as_memory_allows(count, free, size):
    """Four fifths of the free memory, one of 100 bytes: ten in two batches of five, not of eight and two."""
    assert batch_size(count, 100, free) == size
    with pytest.raises(BackendError, match="lower units or samples"):
        batch_size(1, 100, 124)
