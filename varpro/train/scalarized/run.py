"""What every part of a run shares: config, ranks, device and checkpoint, and how units become a network with them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from varpro.arrays import Array, Device
from varpro.config.scalarized import ScalarizedConfig
from varpro.distributed.communicator import Communicator
from varpro.distributed.threads import blas_threads
from varpro.models.units import Units
from varpro.report.progress import Display
from varpro.train.checkpoint import Checkpoint
from varpro.train.scalarized.glue import Glued, Rows, Streamed, glue
from varpro.train.scalarized.glue_entropy import glue_entropy
from varpro.train.scalarized.kept_sums import KeptSums
from varpro.train.scalarized.network import Network
from varpro.train.scalarized.partition import Design
from varpro.train.scalarized.restart import layer_of, state_of_layer

Score = Callable[[Units, Array, Array], dict[str, float]]
"""Accuracies of a network (units, w, a) by name, for the curve of a refinement."""

BLOCKS = 16
"""Blocks of rows to be had, to be dealt out to the ranks, unless they would be of fewer than ..."""
FEWEST_ROWS = 250
"""... so many rows."""


@dataclass(frozen=True)
class Run:
    """What every part of a run shares."""

    config: ScalarizedConfig
    comm: Communicator
    display: Display
    threads: int
    """The number of cores of this rank."""
    shape: tuple[int, ...]
    n_classes: int
    class_names: tuple[str, ...]
    dataset: str
    device: Device | None = None
    """The GPU of this rank; None computes on the CPU."""
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    """Where what is done is kept."""
    why_cpu: str | None = None
    """Why `backend: auto` took the CPU, where a GPU was expected."""
    _uploaded: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    """Images on the host and their copy on the device, by the identity of the former."""
    _latest: list[Streamed] = field(default_factory=list)
    """Those of the units that were asked for last, on the host, with what they hold of Phi."""

    @property
    def design(self) -> Design:
        """The units of one sub-network, or of the whole network if there are no sub-networks."""
        model = self.config.model
        return Design(model.unit, self.shape, self.config.units, model.options, model.sigma)

    def streamed(self, units: Units, w: Array, rows: Rows) -> Streamed:
        """Phi of units on rows, sharded over the ranks; computed on the device if there is one.  On the host it is held
        as long as the same units are asked for, if it fits into `glue.memory`."""
        config, held = self.config, round(1e9 * self.config.glue.memory)
        if self.device is not None:
            rows, held = replace(rows, images=self.on_device(rows.images)), 0
        self._latest[:] = [known for known in self._latest if known.units is units and known.w is w]
        for known in self._latest:
            if known.rows is rows:
                return known
        streamed = Streamed(
            units,
            w,
            config.model.sigma,
            rows,
            self.n_classes,
            self.comm,
            self._block_rows(len(rows)),
            config.reproducible,
            config.glue.precision == "fp32",
            held,
        )
        if self.device is None:
            self._latest.append(streamed)
        return streamed

    def _block_rows(self, n_rows: int) -> int:
        """Rows of Phi at a time: on the host fewer of few rows, so that every rank has its share of validation and test
        images, and the same for any number of ranks."""
        even = n_rows if self.device is not None else max(FEWEST_ROWS, -(-n_rows // BLOCKS))
        return min(self.config.glue.block_rows, even)

    def on_device(self, images: Array) -> Array:
        """Images (N, C, L, R) on the device, copied there only once."""
        assert self.device is not None
        if id(images) not in self._uploaded:
            self._uploaded[id(images)] = (images, self.device.put(images))
        return self._uploaded[id(images)][1]

    def glued(
        self, units: Units, w: Array, rows: Rows, validation: Rows | None, ridge: float | None, name: str
    ) -> Glued:
        """The linear layer of units on rows, or the one that an earlier process has found.  Collective.

        ridge : None = chosen on the validation rows.  name : of its states in the checkpoint.
        """
        found = self.checkpoint.load(name)
        if found is not None:
            return layer_of(found)
        train = self.streamed(units, w, rows)
        held = None if validation is None else self.streamed(units, w, validation)
        if self.config.glue.loss == "cross_entropy":
            glued = glue_entropy(train, held, ridge=ridge)
        else:
            glued = glue(
                train,
                held,
                method=self.config.glue.method,
                ridge=ridge,
                rank_tolerance=self.config.search.rank_tolerance,
                watch=KeptSums(self.checkpoint, f"{name}-sums", self.comm),
            )
        self.checkpoint.save(name, state_of_layer(glued))
        self.checkpoint.forget(f"{name}-sums")
        return glued

    def network(self, units: Units, w: Array, a: Array) -> Network:
        """A network with this run's classes."""
        return Network(units, w, self.config.model.sigma, a, self.class_names, self.dataset)

    def all_threads(self) -> AbstractContextManager[None]:
        """All threads of this rank for one computation; one in BLAS if sums over rows must be reproducible."""
        return blas_threads(1 if self.config.reproducible else self.threads, rows=self.threads)
