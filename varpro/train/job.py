"""The frame of every training: what it needs before the data, and what it does with them.

Each kind of network is one subclass.  The programs know only this interface, and no framework is imported before
`require_backend`.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from varpro.config.sections import TrainingConfig
from varpro.distributed import Communicator, threads_per_rank
from varpro.report.progress import Display
from varpro.report.record import Record
from varpro.train.checkpoint import Checkpoint
from varpro.train.data.prepared import Prepared

C = TypeVar("C", bound=TrainingConfig)
N = TypeVar("N")
"""A trained network"""


class Job(ABC, Generic[C, N]):
    """The training of one config on some ranks.  Every method is collective except `forecast` and `save`."""

    states_belong_to_ranks = False
    """Whether a checkpoint can be continued on the same number of ranks only."""

    def __init__(self, config: C, comm: Communicator) -> None:
        self.config, self.comm, self.checkpoint = config, comm, Checkpoint()

    @property
    def threads(self) -> int:
        """The number of threads of this rank."""
        return threads_per_rank(self.comm)

    def choose_device(self) -> None:
        """Decide where to compute, before data are loaded and even for a dry run.  Raises BackendError, ConfigError."""

    def require_backend(self) -> None:
        """Import what the training needs.  Raises BackendError if it is missing."""

    @abstractmethod
    def forecast(self, prepared: Prepared[C]) -> list[tuple[str, str]]:
        """What the training will take, as names and words."""

    @abstractmethod
    def train(self, prepared: Prepared[C], display: Display) -> tuple[Record, N] | None:
        """Train the network: record and network on rank 0, None elsewhere.  Raises VarproError."""

    @abstractmethod
    def save(self, path: Path, network: N, prepared: Prepared[C]) -> None:
        """Write the network as a model file.  Raises OSError."""


def rounded(gflop: float) -> str:
    """A number of operations for display: whole, or with two digits."""
    return f"{gflop:,.0f}" if gflop >= 100 else f"{gflop:.2g}"
