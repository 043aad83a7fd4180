"""Training sub-networks on a GPU: as many side by side as fit into memory, in a single search."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np

from varpro.arrays import Device
from varpro.distributed.communicator import Communicator
from varpro.errors import BackendError
from varpro.models.units import Units
from varpro.models.units.device import DeviceUnits
from varpro.search.loop import search
from varpro.train.scalarized.partition import Draw
from varpro.train.scalarized.subnetworks import SubnetworkTask, Trained

SHARE_OF_FREE = 0.8
"""Share of the free memory to use; the rest is for the libraries' workspaces and for fragmentation."""


def subnetwork_bytes(*, n: int, m: int, i: int, k: int, item: int, packed: int = 0) -> int:
    """Peak device memory of one sub-network: n images, of `packed` numbers where values need them packed, m pairs,
    i columns, k outputs, D of `item` bytes.

    It holds D and, in single precision, a second array of its size while it is projected; D^T D; H, its damped copy and
    one taken out of a batch; Phi and U; residuals.
    """
    d = n * m * item * (2 if item == 4 else 1)
    return d + m * m * (item + 3 * 8) + 8 * n * (4 * (i + 1) + 4 * k + packed) + 8 * 8 * m * (i + k)


def batch_size(count: int, one: int, free: int) -> int:
    """Sub-networks side by side, in batches as even as memory allows.  Raises BackendError if not even one fits."""
    most = int(SHARE_OF_FREE * free) // one
    if most < 1:
        raise BackendError(
            f"one sub-network needs about {one / 1e9:.2g} GB of device memory, {SHARE_OF_FREE * free / 1e9:.2g} GB can "
            "be used; lower units or samples, set search.gn_precision: fp32, or use --backend cpu"
        )
    batches = -(-count // most)
    return -(-count // max(batches, 1)) if count else 0


def batch_share(count: int, ranks: int) -> int:
    """Sub-networks of a batch where memory sets no limit: all of them on one rank; several ranks make two batches each,
    so that one whose searches end early takes over what is left of another's."""
    return -(-count // (ranks if ranks == 1 else 2 * ranks))


def searched_side_by_side(kind: type[Units], columns: int) -> bool:
    """Whether a device searches sub-networks side by side; the others follow one another.  Those of units with several
    columns have a problem of their own (SubnetworkTask.network)."""
    return kind.alike and columns == 1


@dataclass(frozen=True)
class DeviceTask:
    """The sub-networks of a run in batches, which its ranks take from the queue."""

    task: SubnetworkTask
    indices: list[int]
    size: int
    threads: int

    @classmethod
    def of(cls, task: SubnetworkTask, indices: list[int], comm: Communicator, threads: int) -> Self:
        """Batches that fit on every rank's device.  Collective.  Raises BackendError if not even one fits."""
        size = 0
        if indices:
            assert task.device is not None
            share = batch_share(len(indices), comm.size)
            mine = batch_size(share, _bytes_of_one(task, task.start(indices[0])), task.device.free_bytes)
            size = int(comm.allreduce(np.array([mine]), op="min")[0])
        return cls(task, indices, size, threads)

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self.indices) // self.size) if self.indices else 0

    def __call__(self, number: int) -> list[Trained]:
        """Train the sub-networks of a batch."""
        assert self.task.device is not None
        indices = self.indices[number * self.size : (number + 1) * self.size]
        with self.task.device.current():
            with ThreadPoolExecutor(self.threads) as pool:
                draws = list(pool.map(self.task.start, indices))
            return self._batch(indices, draws)

    def _batch(self, indices: list[int], draws: list[Draw]) -> list[Trained]:
        task, options, started, clock = self.task, self.task.options, time.time(), time.perf_counter()
        rows = np.stack([d.rows for d in draws])
        assert task.device is not None
        assert task.images is not None
        bound = DeviceUnits.bind(draws[0].units, task.images, rows, task.design.sigma)
        y = task.device.put(np.stack([task.rows.y(r, task.n_classes) for r in rows]))
        problem = task.problem(bound, y)
        w0 = task.device.put(np.stack([d.w for d in draws]))
        found = search(problem, w0, damping=options.damping, termination=options.termination)
        w = bound.lift(found.w)
        share = (time.perf_counter() - clock) / len(draws)
        return [
            task.trained(index, draws[b], found, b, w[b], started=started + b * share, seconds=share)
            for b, index in enumerate(indices)
        ]


def _bytes_of_one(task: SubnetworkTask, draw: Draw) -> int:
    item = 8 if task.options.gn_precision == "float64" else 4
    units, m = draw.units, len(draw.w) * draw.units.columns_per_unit
    packed = units.packed_numbers(units.shape)
    return subnetwork_bytes(n=len(draw.rows), m=m, i=units.n_columns, k=task.n_classes, item=item, packed=packed)


def device_gemm_gflops(device: Device, dtype: str, *, size: int = 4096, repeats: int = 5) -> float:
    """GFLOP/s of a square matrix product on the device, the best of `repeats`."""
    a, best = device.xp.ones((size, size), dtype=dtype), np.inf
    for _ in range(repeats + 1):  # the first one loads the library
        clock = time.perf_counter()
        a @ a
        device.wait()
        best = min(best, time.perf_counter() - clock)
    return 2e-9 * size**3 / best
