"""The sums of gluing, Phi^T Phi and Phi^T Y, kept while they grow, with the blocks of rows that they hold.

What is kept is the sum over ranks, so a run can be continued on another number of them; the sums of each rank go on
unchanged, so keeping them changes no bit.  They are added up and stored by panels of rows of the lower triangle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array, beside, to_host
from varpro.distributed import Communicator, SerialCommunicator
from varpro.linalg.row_sums import ShardedRows, row_blocks
from varpro.train.checkpoint import Checkpoint, State

PANEL_ROWS = 512
ONE_RANK = SerialCommunicator()


@dataclass
class KeptSums:
    """A `Watch` of linalg.normal_equations that keeps the sums in a checkpoint."""

    checkpoint: Checkpoint
    name: str
    comm: Communicator
    blocks: Sequence[slice] = field(default_factory=list)
    """The blocks left to this rank."""
    before: list[int] = field(default_factory=list)
    """First rows of the blocks that the sums held at the beginning, those of all ranks."""

    def begin(self, rows: ShardedRows, blocks: Sequence[slice], gram: Array, cross: Array) -> Sequence[slice]:
        """The sums of an earlier process go to rank 0, the blocks they lack to all ranks alike."""
        rank, size, state = self.comm.rank, self.comm.size, self.checkpoint.load_on_first(self.name)
        held = self.comm.bcast(None if state is None else state.arrays["blocks"].tolist())
        self.blocks = blocks
        if held is None:
            return blocks
        if state is not None:
            cross += beside(state.arrays["cross"], cross)
            for first, last, panel in _panels(len(gram), state.arrays["gram"]):
                gram[first:last, :last] += beside(panel, gram)
        self.before = held
        left = [block for block in row_blocks(rows.n_rows, rows.block_rows, ONE_RANK) if block.start not in set(held)]
        self.blocks = left[len(left) * rank // size : len(left) * (rank + 1) // size]
        return self.blocks

    def after(self, done: int, gram: Array, cross: Array) -> None:
        """Keep the sums if it is time."""

        def make() -> State | None:
            added = self.comm.allgather([block.start for block in self.blocks[:done]])
            whole = self.comm.allreduce(to_host(cross))
            panels = []
            for first, last in _edges(len(gram)):
                panel = self.comm.allreduce(to_host(gram[first:last, :last]))
                if self.comm.rank == 0:
                    panels.append(panel.ravel())
            if self.comm.rank > 0:
                return None
            held = np.array(sorted(self.before + [start for part in added for start in part]), dtype=np.int64)
            return State({}, {"blocks": held, "cross": whole, "gram": np.concatenate(panels)})

        self.checkpoint.moment(self.name, 4 * gram.size + 8 * cross.size, make)


def _edges(n: int) -> list[tuple[int, int]]:
    return [(first, min(first + PANEL_ROWS, n)) for first in range(0, n, PANEL_ROWS)]


def _panels(n: int, packed: Array) -> list[tuple[int, int, Array]]:
    """First and last row of each panel, and its entries up to the last row's diagonal."""
    found, place = [], 0
    for first, last in _edges(n):
        size = (last - first) * last
        found.append((first, last, packed[place : place + size].reshape(last - first, last)))
        place += size
    return found
